"""The layouts that `--data` takes, in the order in which they are looked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ...kernels import CumelError
from ..inputs import CONTAINERS, TABLES, header_of, left_out, resolve, shown
from .dataset import TEST, Dataset
from .kept import as_kept
from .listed import Layout, Listed
from .tables import SPLIT_WORDS, label_column, places_of, rows_of

EXAMPLES = (
    "a folder per class (sounds/dog/1.wav), a table (.csv, .tsv, .jsonl, .parquet) with columns path and label, ESC-50 "
    "(audio/ and meta/esc50.csv), UrbanSound8K, FSD50K, or an audiofolder of Hugging Face (metadata.csv)"
)


def read(data: Path, root: Path | None, group: str | None, seed: int, kept: Path | None) -> Dataset:
    """Read a dataset; see `Dataset.read`."""
    if not data.exists():
        raise CumelError(
            f"{data}: no such folder or table; check the spelling, or `cumel download` or `cumel synth` one"
        )
    if root is not None and not root.is_dir():
        raise CumelError(f"--root {root}: no such folder; name the one that has the recordings")
    if data.is_file() and data.suffix.lower() not in TABLES:
        raise CumelError(f"{data}: neither a folder nor a table; --data takes {EXAMPLES}")
    for layout_of in LAYOUTS:
        layout = layout_of(data, root)
        if layout is not None:
            dataset = layout.dataset(group, seed)
            return as_kept(dataset, kept) if layout.without_folds else dataset
    raise CumelError(f"{data}: not a dataset of a known layout; --data takes {EXAMPLES}")


def with_table(data: Path, root: Path | None) -> Layout | None:
    """Return the layout of a folder that has a table of its recordings; None for another folder."""
    for layout_of in LAYOUTS:
        layout = layout_of(data, root) if layout_of is not _class_folders else None
        if layout is not None:
            return layout
    return None


def _table(data: Path, root: Path | None) -> Layout | None:
    """Read a table that the user names."""
    if not data.is_file():
        return None
    above = data.resolve().parent
    places = places_of(above, root)
    layout = _urban_table(data, places, above.parent)
    if layout is not None:
        return layout
    return Layout("table", root or data.parent, rows_of(data), data, None, places, ("", ".wav"))


def _esc50(data: Path, root: Path | None) -> Layout | None:
    table = data / "meta" / "esc50.csv"
    if not table.is_file():
        return None
    missing = [name for name in ("filename", "fold", "target", "category") if name not in header_of(table)]
    if missing:
        raise CumelError(
            f"{table}: column {', '.join(missing)} is missing; ESC-50 has filename, fold, target, category"
        )
    return Layout("ESC-50", data, rows_of(table), table, None, (root or data / "audio",))


def _urban_sound(data: Path, root: Path | None) -> Layout | None:
    table = data / "metadata" / "UrbanSound8K.csv"
    return _urban_table(table, (root or data / "audio",), data) if table.is_file() else None


def _urban_table(table: Path, places: tuple[Path, ...], root: Path) -> Layout | None:
    """Read UrbanSound8K's table: its start and end are those of a slice in another, longer recording."""
    if not {"slice_file_name", "classID", "class", "fold"} <= set(header_of(table)):
        return None
    rows = rows_of(table, target="classID", parts=False)
    return Layout("UrbanSound8K", root, rows, table, "CC BY-NC 4.0 (UrbanSound8K)", places)


def _fsd50k(data: Path, root: Path | None) -> Layout | None:
    dev, evaluation = (data / "FSD50K.ground_truth" / f"{name}.csv" for name in ("dev", "eval"))
    if not dev.is_file():
        return None
    rows = rows_of(dev)
    if evaluation.is_file():
        rows += rows_of(evaluation, fold=TEST)
    places = (root,) if root else tuple(data / f"FSD50K.{name}_audio" for name in ("dev", "eval"))
    license_ = "CC BY 4.0 as a whole; each clip has its own, in FSD50K.metadata"
    return Layout("FSD50K", data, rows, dev, license_, places, (".wav", ".flac", ""))


def _audiofolder(data: Path, root: Path | None) -> Layout | None:
    """Read an audiofolder: metadata beside the recordings, or in a folder per split; labels there or as folders."""
    if not data.is_dir():
        return None
    names = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    folders = {data: None} | {
        each: SPLIT_WORDS[each.name.lower()] for each in _subfolders(data) if each.name.lower() in SPLIT_WORDS
    }
    tables = [(folder / name, fold) for folder, fold in folders.items() for name in names if (folder / name).is_file()]
    tables = [(table, fold) for table, fold in tables if "file_name" in header_of(table)]
    if not tables:
        return None
    rows: list[Listed] = []
    for table, fold in tables:
        for row in rows_of(table, fold=fold, folders=True):
            row.name = str(table.parent.relative_to(data) / row.name)
            row.fold = row.fold or _split_of(Path(row.name))
            rows.append(row)
    return Layout("audiofolder", data, rows, tables[0][0], None, (root or data,))


def _folder_with_table(data: Path, root: Path | None) -> Layout | None:
    """Read a folder that has one table of paths and labels."""
    if not data.is_dir():
        return None
    tables = [path for path in sorted(data.iterdir()) if path.suffix.lower() in TABLES and path.is_file()]
    usable = [table for table in tables if label_column(_header(table))]
    if len(usable) > 1:
        raise CumelError(
            f"{data}: has several tables of paths and labels ({', '.join(table.name for table in usable)}); name one"
        )
    return _table(usable[0], root) if usable else None


def _class_folders(data: Path, root: Path | None) -> Layout | None:
    """Read a folder per class, maybe inside a folder per split or fold."""
    if not data.is_dir():
        return None
    if root is not None:
        raise CumelError(f"--root {root}: only a table has one; the classes of {data} are its folders")
    above = {each: _fold_of(each.name) for each in _subfolders(data)}
    if not above or any(fold is None for fold in above.values()):
        above = {data: None}
    classes = [(each, fold) for folder, fold in above.items() for each in _subfolders(folder)]
    if len({each.name for each, _ in classes}) < 2 or all(CONTAINERS.fullmatch(each.name) for each, _ in classes):
        return None
    rows: list[Listed] = []
    odd: Counter[str] = Counter()
    for folder in above:
        loose = [each.name for each in sorted(folder.iterdir()) if each.is_file() and _is_recording(each)]
        if loose:
            raise CumelError(
                f"{folder}: {loose[0]} lies beside the class folders, and so has no class "
                f"({len(loose)} such); move it into one, or away"
            )
    for folder, fold in classes:
        try:
            listing = resolve([folder])
        except CumelError:
            raise CumelError(f"{folder}: a class folder without recordings; put some into it, or remove it") from None
        odd += listing.left_out
        labels, where = (folder.name,), f"folder {folder.name}"
        rows += [Listed(str(path.relative_to(data)), where, labels, fold, path=path) for path in listing]
    said = (f"{data}: left out: {shown(odd)}",) if odd else ()
    return Layout("class folders", data, rows, said=said)


def _header(table: Path) -> list[str]:
    """Return the columns of what may be a table of clips; none where it cannot be read as one."""
    try:
        return header_of(table)
    except CumelError:
        return []


def _subfolders(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and left_out(each.name, True) is None]


def _is_recording(path: Path) -> bool:
    return left_out(path.name) is None


def _fold_of(name: str) -> int | str | None:
    """Return the fold that a folder's name means, as in ``fold3`` or ``train``; None where it means none."""
    found = re.fullmatch(r"fold[_ -]?(\d+)", name, re.IGNORECASE)
    return int(found[1]) if found else SPLIT_WORDS.get(name.lower())


def _split_of(name: Path) -> str | None:
    return SPLIT_WORDS.get(name.parts[0].lower()) if len(name.parts) > 1 else None


# Each takes the data and --root, and returns None where it is another layout.
LAYOUTS: tuple[Callable[[Path, Path | None], Layout | None], ...] = (
    _table,
    _esc50,
    _urban_sound,
    _fsd50k,
    _audiofolder,
    _folder_with_table,
    _class_folders,
)
