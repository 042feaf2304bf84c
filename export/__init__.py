"""Trained models as ONNX files, and running them on ONNX Runtime."""
