"""One self-contained HTML page about a run: its numbers, its pictures, its configs."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from .files import replacing

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.big { font-size: 2.6rem; font-weight: 650; color: #d1495b } .note { color: #66727f }
table { border-collapse: collapse; width: 100% } td.n { text-align: right; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .15rem .6rem; border-bottom: 1px solid #e4e7eb }
img { max-width: 100% } pre { background: #f5f7fa; padding: 1rem; overflow: auto }
"""


def write_report(report: dict[str, Any], recipe: dict[str, Any], pictures: dict[str, Path], out: Path) -> Path:
    """Write the page.

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
    rows = "".join(
        f"<tr><td>{html.escape(row['label'])}<td class=n>{row['clips']}<td class=n>{row['recall']:.2f}"
        f"<td class=n>{'' if row['precision'] is None else format(row['precision'], '.2f')}"
        f"<td>{html.escape(row['mistaken_for'] or '')}"
        for row in sorted(report["classes"], key=lambda row: row["recall"])
    )
    images = "".join(
        f'<h2>{html.escape(caption)}</h2><img alt="{html.escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">'
        for caption, path in pictures.items()
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>cumel: {html.escape(report['recipe'])}</title><style>{STYLE}</style>"
        f"<h1>Recipe {html.escape(report['recipe'])}, tested on fold {report['fold']}</h1>"
        f'<div class="big">{report["accuracy"]:.3f}</div><p class="note">accuracy on {report["clips"]} held-out clips '
        f"(chance {report['chance']:.3f}), mean of {report['views']} views each, on {html.escape(report['device'])}</p>"
        f"{images}<h2>Per class, weakest first</h2>"
        f"<table><tr><th>class<th>clips<th>recall<th>precision<th>most often taken for{rows}</table>"
        f"<h2>Recipe</h2><pre>{html.escape(json.dumps(recipe, indent=2))}</pre></html>"
    )
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")
    return out
