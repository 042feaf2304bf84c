"""Extracted features on disk: shards, the index over them, and what reads and converts them."""

from ..inputs.naming import Keys, key_of
from .config import CONFIG, StoreConfig, is_store
from .reader import Store

__all__ = ["CONFIG", "Keys", "Store", "StoreConfig", "is_store", "key_of"]
