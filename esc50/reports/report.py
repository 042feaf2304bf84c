"""Self-contained HTML pages about a run, or about a cross-validation: numbers, pictures, configs."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from ..system import replacing
from .page import page, picture, table


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
    folds = f"<h2>Folds</h2>{table(names, rows)}"
    return _write(out, title, report["mean"], note, folds, pictures, report["classes"], recipe)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _write(
    out: Path,
    title: str,
    figure: float,
    note: str,
    tables: str,
    pictures: dict[str, Path],
    classes: list[dict[str, Any]],
    recipe: dict[str, Any],
) -> Path:
    images = "".join(f"<h2>{html.escape(caption)}</h2>{picture(caption, path)}" for caption, path in pictures.items())
    rows = [
        (row["label"], str(row["clips"]), _share(row["recall"]), _share(row["precision"]), row["mistaken_for"] or "")
        for row in sorted(classes, key=lambda row: row["recall"])
    ]
    per_class = table(("class", "clips", "recall", "precision", "most often taken for"), rows, words=(0, 4))
    body = (
        f'<div class="big">{figure:.3f}</div><p class="note">{html.escape(note)}</p>{tables}{images}'
        f"<h2>Per class, weakest first</h2>{per_class}"
        f"<h2>Recipe</h2><pre>{html.escape(json.dumps(recipe, indent=2))}</pre>"
    )
    with replacing(out) as part:
        part.write_text(page(title, body), encoding="utf-8")
    return out
