"""Datasets: ESC-50 and its layout, its archive, and a made one to try everything with."""
