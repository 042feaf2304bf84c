"""``python -m cumel``: the command line."""

import sys

from .esc50.cli import main

if __name__ == "__main__":
    sys.exit(main())
