"""A small made dataset in the layout of ESC-50."""
