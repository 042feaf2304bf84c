"""Self-contained HTML pages about a run, or about a cross-validation: numbers, pictures, configs."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from ..system import replacing

LONG = 60  # characters of a cell that may be broken where a wide table is shown

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.globals["LONG"] = LONG
_TEMPLATE = _ENVIRONMENT.get_template("page.html")


def page(
    title: str,
    body: Markup | str = "",
    *,
    figure: str = "",
    note: str = "",
    sections: Iterable[tuple[str, Markup | str]] = (),
) -> str:
    """Return a whole page. Texts are escaped, `Markup` is taken as it is.

    Parameters
    ----------
    title : str
    body : Markup or str
        The page's content after its sections.
    figure : str
        One number in large type, below the title.
    note : str
        The figure's explanation.
    sections : iterable of (heading, content)
    """
    return _TEMPLATE.render(title=title, body=body, figure=figure, note=note, sections=sections)


def table(
    names: Iterable[str], rows: Iterable[Iterable[str]], words: Collection[int] = (0,), own: Collection[int] = ()
) -> Markup:
    """Return an HTML table; columns other than those of `words` are numbers, rows of `own` are set in bold."""
    return _macro("table", list(names), [list(row) for row in rows], words, own)


def picture(caption: str, path: Path) -> Markup:
    """Return a PNG file as an image inside the page."""
    return _macro("picture", caption, base64.b64encode(path.read_bytes()).decode())


def _macro(name: str, *arguments: Any) -> Markup:
    return getattr(_TEMPLATE.module, name)(*arguments)


Facts = Iterable[tuple[str, str]]  # what, and a text about it


def write_report(
    report: dict[str, Any],
    recipe: dict[str, Any],
    pictures: dict[str, Path],
    out: Path,
    *,
    facts: Facts = (),
    misheard: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write the page about a run.

    Parameters
    ----------
    report : dict
        The result of `evaluate`.
    recipe : dict
        The checkpoint's recipe, as JSON types.
    pictures : dict of str to Path
        Caption and PNG file; they are embedded.
    out : Path
    facts : iterable of (what, text)
        On the data, its licence, the commands and the versions.
    misheard : sequence of dict
        From `heard`.
    """
    note = (
        f"{_measure(report)} on {report['clips']} held-out clips{_sure(report)} (chance {report['chance']:.3f}), "
        f"mean of {report['views']} views each, on {report['device']}"
    )
    title = f"Recipe {report['recipe']}, tested on {_held(report['fold'])}"
    sections: list[tuple[str, Markup]] = []
    if misheard:
        n = len(report["misheard"])
        which = f"the surest {len(misheard)} of {n}" if n > len(misheard) else f"{n}"
        sections.append((f"Misheard: {which}, as the network heard them", _macro("cards", misheard)))
    return _write(out, title, report, note, [], pictures, recipe, facts, sections)


def write_cross_validation(
    report: dict[str, Any], recipe: dict[str, Any], pictures: dict[str, Path], out: Path, *, facts: Facts = ()
) -> Path:
    """Write the page about a cross-validation; the parameters are `write_report`'s."""
    seeds = [row["seed"] for row in report["seeds"]]
    names = ("fold", "clips", *(f"seed {seed}" for seed in seeds), "ensemble of the seeds")
    rows = [
        (str(row["fold"]), str(row["clips"]), *map(_share, row["accuracies"]), _share(row["ensemble"]))
        for row in report["folds"]
    ]
    means = [f"{row['mean']:.3f} ± {row['spread']:.3f}" for row in report["seeds"]]
    rows.append(("mean ± deviation over folds", "", *means, _share(report["ensemble"])))
    note = (
        f"mean accuracy over {len(report['folds'])} folds and {len(seeds)} seeds, ± {report['spread']:.3f} between "
        f"them{_sure(report)} (chance {report['chance']:.3f}): each run's network on the fold that it did not see, "
        f"mean of {report['views']} views of each clip, on {report['device']}"
    )
    title = f"Recipe {report['recipe']}, cross-validated"
    return _write(out, title, report, note, [("Folds", table(names, rows))], pictures, recipe, facts)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _held(fold: object) -> str:
    return f"the {fold} split" if isinstance(fold, str) else f"fold {fold}"


def _measure(report: dict[str, Any]) -> str:
    several = "mean_average_precision" in report
    return "share of clips whose most probable label is one of their own," if several else "accuracy"


def _sure(report: dict[str, Any]) -> str:
    low, high = report["interval"]
    return f", 95 % interval of confidence {low:.3f} to {high:.3f}"


def _write(
    out: Path,
    title: str,
    report: dict[str, Any],
    note: str,
    tables: list[tuple[str, Markup]],
    pictures: dict[str, Path],
    recipe: dict[str, Any],
    facts: Facts,
    last: Iterable[tuple[str, Markup]] = (),
) -> Path:
    words = [0]  # columns that are no numbers
    about = [("macro F1, the mean over the classes", _share(report["macro_f1"]))]
    columns = {"label": "class", "clips": "clips", "recall": "recall", "precision": "precision", "f1": "F1"}
    if "mean_average_precision" in report:
        about.insert(0, ("mean average precision", _share(report["mean_average_precision"])))
        columns["average_precision"] = "average precision"
    else:
        columns["mistaken_for"] = "most often taken for"
        words.append(len(columns) - 1)
    about += facts
    rows = [[_cell(row[name]) for name in columns] for row in sorted(report["classes"], key=lambda row: row["recall"])]
    sections = [
        ("About", table(("", ""), about, words=(0, 1))),
        *tables,
        *((caption, picture(caption, path)) for caption, path in pictures.items()),
        ("Per class, weakest first", table(columns.values(), rows, words=words)),
    ]
    if report.get("thresholds"):
        names = ("answers below", "clips that still get an answer", "accuracy among these")
        parts = ("threshold", "answered", "accuracy")
        shares = [[_share(row[name]) for name in parts] for row in report["thresholds"]]
        sections.append(("If improbable answers count as none of these", table(names, shares)))
    sections += [*last, ("Recipe", Markup("<pre>{}</pre>").format(json.dumps(recipe, indent=2)))]
    with replacing(out) as part:
        text = page(title, figure=_share(report["accuracy"]), note=note, sections=sections)
        part.write_text(text, encoding="utf-8")
    return out


def _cell(value: Any) -> str:
    return _share(value) if isinstance(value, float) else str(value if value is not None else "")
