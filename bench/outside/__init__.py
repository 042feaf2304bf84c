"""Runtimes other than the installed ONNX Runtime, each in an environment of its own, and what they make of a file."""
