"""The command line: one function per command, each a few lines around the function that does the work.

This room alone may import from every other; it does so inside the commands, so that ``--help`` needs no torch.
"""

import json
import sys

from ...kernels import UnavailableError, need

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return its exit code; without its packages, say which extra has them."""
    try:
        app = need(f"{__name__}.app", __name__)
    except UnavailableError as error:
        print(f"cumel: the command line needs more than the features: {error}", file=sys.stderr)
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
        return error.exit_code
    return app.main(arguments)
