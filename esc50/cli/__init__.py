"""The command line: one function per command, each a few lines around the function that does the work.

This room alone may import from every other; it does so inside the commands, so that ``--help`` needs no torch.
"""

from .app import main

__all__ = ["main"]
