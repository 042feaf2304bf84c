"""Extracted features on disk: shards, the index over them, and what reads and converts them."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from . import arrays, formats, integrity, places, rows, seals, shards, takeover, writer
    from .config import CONFIG, RAY_CONFIG, StoreConfig, is_store
    from .conversion import convert
    from .labels import Known, save_labels
    from .reader import Store, StoredClip
    from .torch_dataset import FeatureDataset, pad

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
