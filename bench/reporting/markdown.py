"""What the README's tables share: the rows that they show, and how Markdown is written."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from reporting.rows import Row, newest, read, where
from reporting.topics import ABOUT


def latest(results: Path, name: str, *needed: str) -> list[Row]:
    """Return the newest rows of a csv file that are of the device which was measured last."""
    path = results / f"{name}.csv"
    if not path.exists():
        raise SystemExit(f"README.md: it shows bench:{name}, but there is no {path}")
    topic = read(path, (*ABOUT[name].keys, *needed))
    if not topic.rows:
        raise SystemExit(f"README.md: it shows bench:{name}, but {path} has no rows")
    last = topic.rows[-1].get("device", "")
    return [row for row in newest(topic.rows, ABOUT[name].keys) if row.get("device", "") == last]


def table(names: Sequence[str], rows: Iterable[Sequence[str]], words: Iterable[int] = (0,)) -> str:
    """Return a table; columns other than those of `words` are numbers, and empty ones are left out."""
    rows = list(rows)
    kept = [i for i in range(len(names)) if any(row[i] for row in rows)]
    lines = [[names[i] for i in kept], ["---" if i in words else "---:" for i in kept]]
    lines += [[row[i].replace("|", r"\|") for i in kept] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def bold(name: str) -> str:
    """Mark a row of ours."""
    return f"**{name}**" if name.startswith("cumel") else name


def measured(rows: list[Row]) -> str:
    """Say where the rows were measured."""
    return " ".join(f"{line}." for line in where(rows))
