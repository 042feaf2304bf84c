"""ONNX export of trained networks, ONNX Runtime, predictions, and a browser page."""

from typing import TYPE_CHECKING

from ..kernels.lazy import lazily

if TYPE_CHECKING:
    from .graph import Interface as Interface
    from .prediction import Predictor as Predictor, load as load, predict as predict
    from .runtime import Model as Model, Session as Session, load_model as load_model
    from .to_front_end import export_frontend as export_frontend
    from .to_module import export_module as export_module
    from .to_onnx import export_onnx as export_onnx
    from .web import write_site as write_site

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
