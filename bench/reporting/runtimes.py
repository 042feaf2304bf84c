"""The table of runtimes that run an exported file."""

from pathlib import Path

import pandas as pd

from reporting.markdown import short, table
from reporting.rows import latest, numbers, where


def runtimes_table(results: Path) -> str:
    """Return a row for each runtime and version: how it runs a file, and how far off it is."""
    rows = latest(results, "runtimes", "how", "max", "same", "sounds", "lengths_max", "refused")
    shown = {
        "runtime": rows["runtime"],
        "version": rows["version"],
        "how": rows["how"],
        "largest difference": numbers(rows["max"]).map(short),
        "same label": (rows["same"] + " of " + rows["sounds"]).where(rows["same"] != "", ""),
        "lengths": numbers(rows["lengths_max"]).map(short),
        "in its own words": rows["refused"],
    }
    words = ("runtime", "version", "how", "in its own words")
    return f"{table(pd.DataFrame(shown), words)}\n\n{where(rows)}"
