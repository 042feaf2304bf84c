"""Model files on ONNX Runtime."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .model import Model, load_model, read_exported
    from .providers import onnxruntime
    from .session import Session

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
