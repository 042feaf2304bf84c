"""Extracted features on disk: shards, the index over them, and what reads and converts them."""

from ..naming import Keys, key_of
from .reader import CONFIG, Store, StoreConfig, is_store

__all__ = ["CONFIG", "Keys", "Store", "StoreConfig", "is_store", "key_of"]
