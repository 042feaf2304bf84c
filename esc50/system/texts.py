"""Names and labels as they are shown: they may hold anything."""

from __future__ import annotations

LONGEST = 64  # most characters of a name in a picture
LABEL = 32  # most characters of a label in a picture


def printable(text: str) -> str:
    """Escape what would steer a terminal, break a line, or is no character at all."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def caption(text: str, longest: int = LONGEST) -> str:
    """Return a text as one line that fits into a picture, without its middle when it is long."""
    line, half = printable(text), longest // 2
    return line if len(line) <= longest else f"{line[: half - 1]}...{line[2 - half :]}"


def label(text: str) -> str:
    """Return a class's label as it is drawn."""
    return caption(text, LABEL)
