"""Rows of a table, as clips: which column has the path, the label, the fold, and the part of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...kernels import CumelError
from ..inputs import header_of, path_column, records
from .dataset import TEST, TRAIN, VALID
from .listed import Listed, number

LABEL_COLUMNS = ("label", "category", "class", "labels")  # the first one present counts; the last holds several
SEVERAL = "labels"
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("valid", "validation", "val", "dev"), VALID),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TEST),
}  # names of splits, as tables and folders have them


def places_of(above: Path, root: Path | None) -> tuple[Path, ...]:
    """Return the folders in which the recordings of a table may lie, by the folder `above` it and by ``--root``."""
    return (root,) if root else (above, above / "audio", above.parent / "audio", above.parent)


def label_column(names: Sequence[str]) -> str | None:
    """Return which of a table's columns has the labels; None when none has."""
    return next((name for name in LABEL_COLUMNS if name in names), None)


def rows_of(
    table: Path, *, target: str = "target", fold: str | None = None, folders: bool = False, parts: bool = True
) -> list[Listed]:
    """Read the rows of a table.

    Parameters
    ----------
    table : Path
    target : str
        Column with the number of a label, where there is one.
    fold : str, optional
        The fold of every row; without it, that of the column fold or split.
    folders : bool
        Where there is no column of labels, the folder of a recording is its label.
    parts : bool
        Whether start and end are those of a clip in its recording, in seconds.

    Raises
    ------
    CumelError
        When there is no column of paths or labels, or a row has a value that cannot be.
    """
    names = header_of(table)
    path, label = path_column(table, names), label_column(names)
    if label is None and not folders:
        raise CumelError(
            f"{table}: has no column {', '.join(LABEL_COLUMNS[:-1])} or {SEVERAL}; its columns: {', '.join(names)}"
        )
    used = {path, label, target, "fold", "split", *(("start", "end") if parts else ())}
    rows = []
    for where, values in records(table):
        at = f"{table}, {where}"
        name = values.get(path)
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            raise CumelError(f"{at}: names no file; fill in its {path}, or leave the row out")
        start, end = _part(at, values) if parts else (0.0, None)
        rows.append(
            Listed(
                name,
                where,
                _labels(at, label, values) if label else (_folder_of(name),),
                fold or _fold(at, values),
                _target(at, values.get(target)),
                start,
                end,
                {key: value for key, value in values.items() if key not in used},
            )
        )
        if not rows[-1].labels[0]:
            raise CumelError(f"{at}: {name} lies in no folder that could be its label; add a column label")
    return rows


def _folder_of(name: str) -> str:
    """Return the folder that a recording lies in, where it is no split."""
    folder = Path(name).parent.name
    return "" if folder.lower() in SPLIT_WORDS else folder


def _labels(at: str, column: str, values: dict[str, Any]) -> tuple[str, ...]:
    value = values.get(column)
    if isinstance(value, str) and column == SEVERAL:
        value = value.split(";" if ";" in value else ",")
    found = [str(each).strip() for each in (value if isinstance(value, list) else [value]) if each is not None]
    labels = tuple(dict.fromkeys(filter(None, found)))
    if not labels:
        raise CumelError(f"{at}: has no label; fill in its {column}, or leave the row out")
    if not all(label.isprintable() for label in labels):
        raise CumelError(f"{at}: its {column} is no text in UTF-8; save the table as UTF-8")
    return labels


def _fold(at: str, values: dict[str, Any]) -> int | str | None:
    """Return a row's fold, or its split where it has no fold."""
    for column in ("fold", "split"):
        value = values.get(column)
        if value in (None, ""):
            continue
        word = SPLIT_WORDS.get(str(value).strip().lower())
        if word:
            return word
        if column == "split":
            raise CumelError(f"{at}: split {value} is unknown; it must be train, valid or test")
        return _whole(at, value)
    return None


def _target(at: str, value: Any) -> int | None:
    if value in (None, ""):
        return None
    whole = _whole(at, value)
    if whole < 0:
        raise CumelError(f"{at}: needs a target of 0 or more, not {whole}")
    return whole


def _whole(at: str, value: Any) -> int:
    read = number(value)
    if read is None or read != int(read) or isinstance(value, bool):
        raise CumelError(f"{at}: fold and target must be whole numbers, not {value}")
    return int(read)


def _part(at: str, values: dict[str, Any]) -> tuple[float, float | None]:
    """Return where a clip begins and ends in its recording."""
    seconds: dict[str, float | None] = {}
    for column in ("start", "end"):
        value = values.get(column)
        seconds[column] = None if value in (None, "") else number(value)
        if seconds[column] is None and value not in (None, ""):
            raise CumelError(f"{at}: {column} {value} is no number; give seconds, or leave it empty")
    start, end = seconds["start"] or 0.0, seconds["end"]
    if start < 0 or (end is not None and end <= start):
        raise CumelError(f"{at}: a part from {start:g} s to {end:g} s is none; start must be 0 or more, end after it")
    return start, end
