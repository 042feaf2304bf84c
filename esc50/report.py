"""Self-contained HTML pages about a run, or about a cross-validation: numbers, pictures, configs."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .files import replacing

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.big { font-size: 2.6rem; font-weight: 650; color: #d1495b } .note { color: #66727f }
table { border-collapse: collapse; width: 100% } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .15rem .6rem; border-bottom: 1px solid #e4e7eb }
img { max-width: 100% } pre { background: #f5f7fa; padding: 1rem; overflow: auto }
"""


def write_report(report: dict[str, Any], recipe: dict[str, Any], pictures: dict[str, Path], out: Path) -> Path:
    """Write the page about a run.

    Parameters
    ----------
    report : dict
        What `evaluate` returned.
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
    return _write(out, title, report["accuracy"], note, "", pictures, report["classes"], recipe)


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
    table = f"<h2>Folds</h2>{_table(names, rows)}"
    return _write(out, title, report["mean"], note, table, pictures, report["classes"], recipe)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(names: Iterable[str], rows: Iterable[Iterable[str]], numbers: bool = True) -> str:
    """Return an HTML table; all columns but the first hold `numbers`, or all but the first and last."""
    names, rows = list(names), [list(row) for row in rows]
    kinds = [" class=n" if i > 0 and (numbers or i < len(names) - 1) else "" for i in range(len(names))]
    head = "".join(f"<th{kind}>{html.escape(name)}" for kind, name in zip(kinds, names, strict=True))
    lines = ("".join(f"<td{kind}>{html.escape(cell)}" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    return f"<table><tr>{head}{''.join(f'<tr>{line}' for line in lines)}</table>"


def _write(
    out: Path,
    title: str,
    figure: float,
    note: str,
    table: str,
    pictures: dict[str, Path],
    classes: list[dict[str, Any]],
    recipe: dict[str, Any],
) -> Path:
    images = "".join(
        f'<h2>{html.escape(caption)}</h2><img alt="{html.escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">'
        for caption, path in pictures.items()
    )
    rows = [
        (row["label"], str(row["clips"]), _share(row["recall"]), _share(row["precision"]), row["mistaken_for"] or "")
        for row in sorted(classes, key=lambda row: row["recall"])
    ]
    per_class = _table(("class", "clips", "recall", "precision", "most often taken for"), rows, numbers=False)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>cumel: {html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
        f'<div class="big">{figure:.3f}</div><p class="note">{html.escape(note)}</p>{table}{images}'
        f"<h2>Per class, weakest first</h2>{per_class}"
        f"<h2>Recipe</h2><pre>{html.escape(json.dumps(recipe, indent=2))}</pre></html>"
    )
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")
    return out
