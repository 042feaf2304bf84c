"""A model as a static page that hears: the page, its model and ONNX Runtime Web in one folder."""

from .site import write_site

__all__ = ["write_site"]
