"""Extracted features on disk: shards, the index over them, and what reads and converts them."""

from .config import CONFIG, StoreConfig, is_store
from .reader import Keys, Store, key_of

__all__ = ["CONFIG", "Keys", "Store", "StoreConfig", "is_store", "key_of"]
