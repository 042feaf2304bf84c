"""Whether a model file is what it claims to be: its graph, its features, its answers."""
