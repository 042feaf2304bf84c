"""A static page that classifies recordings in the browser: page, model and ONNX Runtime Web in one folder."""

from .site import write_site

__all__ = ["write_site"]
