"""Extracted features on disk: shards, the index over them, and what reads and converts them."""

from .reader import CONFIG, Keys, Store, StoreConfig, is_store, key_of

__all__ = ["CONFIG", "Keys", "Store", "StoreConfig", "is_store", "key_of"]
