"""What the user points at: files, folders, patterns, manifests, as one list of recordings."""
