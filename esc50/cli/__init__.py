"""The command line: one function per command, each a few lines around the function that does the work.

The one place that may import from every folder; it does so inside the commands, so that ``--help`` needs no torch.
"""

from .app import main

__all__ = ["main"]
