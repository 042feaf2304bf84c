"""Random changes to training clips."""
