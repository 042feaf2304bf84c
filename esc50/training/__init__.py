"""From features to a trained network, and how good it is."""
