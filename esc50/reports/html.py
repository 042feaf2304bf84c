"""Self-contained HTML pages about a run, or about a cross-validation: numbers, pictures, configs."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable
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


def write_report(report: dict[str, Any], recipe: dict[str, Any], pictures: dict[str, Path], out: Path) -> Path:
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
    """
    note = (
        f"accuracy on {report['clips']} held-out clips (chance {report['chance']:.3f}), mean of {report['views']} "
        f"views each, on {report['device']}"
    )
    title = f"Recipe {report['recipe']}, tested on fold {report['fold']}"
    return _write(out, title, report["accuracy"], note, [], pictures, report["classes"], recipe)


def write_cross_validation(
    report: dict[str, Any], recipe: dict[str, Any], pictures: dict[str, Path], out: Path
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
        f"them (chance {report['chance']:.3f}): each run's last epoch on the fold that it did not see, mean of "
        f"{report['views']} views of each clip, on {report['device']}"
    )
    title = f"Recipe {report['recipe']}, cross-validated"
    folds = [("Folds", table(names, rows))]
    return _write(out, title, report["mean"], note, folds, pictures, report["classes"], recipe)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _write(
    out: Path,
    title: str,
    accuracy: float,
    note: str,
    tables: list[tuple[str, Markup]],
    pictures: dict[str, Path],
    classes: list[dict[str, Any]],
    recipe: dict[str, Any],
) -> Path:
    rows = [
        (row["label"], str(row["clips"]), _share(row["recall"]), _share(row["precision"]), row["mistaken_for"] or "")
        for row in sorted(classes, key=lambda row: row["recall"])
    ]
    names = ("class", "clips", "recall", "precision", "most often taken for")
    sections = [
        *tables,
        *((caption, picture(caption, path)) for caption, path in pictures.items()),
        ("Per class, weakest first", table(names, rows, words=(0, 4))),
        ("Recipe", Markup("<pre>{}</pre>").format(json.dumps(recipe, indent=2))),
    ]
    with replacing(out) as part:
        part.write_text(page(title, figure=_share(accuracy), note=note, sections=sections), encoding="utf-8")
    return out
