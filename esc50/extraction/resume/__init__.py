"""Resuming an extraction: what its folder holds, and what is left to do."""
