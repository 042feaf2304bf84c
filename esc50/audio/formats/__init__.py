"""Containers and codecs: how long a recording is, and whether it is whole. libsndfile decodes them all."""
