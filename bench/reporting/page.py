"""The HTML page: for each csv file what was measured and where, every newest row, and pictures."""

import base64
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from reporting.markdown import times
from reporting.peers_ahead import REASONS, comparisons, peers_ahead
from reporting.pictures import FIT, growth, speed
from reporting.rows import different, newest, read
from reporting.topics import ABOUT, about

PLACE = ("device", "driver", "versions", "date", "commit")
DPI = 160


def write_page(results: Path, out: Path, reasons: Mapping[tuple[str, str, str], str] = REASONS) -> Path:
    """Write index.html into the folder `out`, and return its path. Peers ahead without a reason are named there."""
    known = list(ABOUT)
    paths = sorted(results.glob("*.csv"), key=lambda path: (known.index(path.stem) if path.stem in known else 99, path))
    if not paths:
        raise SystemExit(f"{results}: no csv files; run the benchmarks first")
    pairs = comparisons(results)
    ahead = peers_ahead(pairs, reasons)
    factors = zip(ahead["factor"], ahead["clear"], strict=True)
    shown = {
        "benchmark": ahead["topic"],
        "device": ahead["device"],
        "where": ahead["place"],
        "peer": ahead["peer"],
        "is": ahead["what"],
        "by": [times(factor) + ("" if clear else ", within the spread") for factor, clear in factors],
        "than": ahead["own"],
        "why": ahead["reason"].replace("", "no reason is given yet"),
    }
    alone = pairs[pairs["own"] == ""]
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    text = templates.get_template("page.html").render(
        sections=[_section(path) for path in paths],
        ahead=pd.DataFrame(shown),
        compared=len(pairs) - len(alone),
        alone=[f"{row.topic}: {row.peer} in {row.place} on {row.device}" for row in alone.itertuples()],
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


def _section(path: Path) -> dict[str, Any]:
    """Return what the page says of a csv file."""
    topic = about(path.stem)
    rows = read(path, topic.keys)
    kept = newest(rows, topic.keys) if topic.keys else rows
    return {
        "name": path.stem,
        "anchor": re.sub(r"\W", "-", path.stem),
        "title": topic.title,
        "text": topic.text,
        "devices": list(_devices(path, kept)),
        "older": len(rows) - len(kept),
    }


def _devices(path: Path, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows of each device, without empty columns, and what these have in common."""
    for device, group in rows.groupby(rows.get("device", pd.Series("", rows.index)), sort=False):
        facts = {name: ", ".join(different(group[name])) for name in (*PLACE[1:], "arch", "nvrtc") if name in group}
        columns = [name for name in group if name not in PLACE and (group[name] != "").any()]
        are_numbers = group[columns].apply(pd.to_numeric, errors="coerce").notna() | (group[columns] == "")
        figure = _figure(path, group)
        yield {
            "name": device,
            "facts": "; ".join(f"{name} {values}" for name, values in facts.items() if values not in ("", "-")),
            "picture": figure and _inside(figure),
            "rows": group[columns],
            "words": [name for name in columns if not are_numbers[name].all()],
        }


def _figure(path: Path, rows: pd.DataFrame) -> Figure | None:
    """Draw the rows of a device, where their topic has a picture."""
    if path.stem == "features":
        return speed(rows)
    if path.stem == "scaling":
        exponents, columns = path.with_name("scaling_exponents.csv"), ("device", "axis", "peer", *FIT)
        fits = read(exponents, columns) if exponents.exists() else pd.DataFrame(columns=columns)
        fits = newest(fits, ABOUT[exponents.stem].keys)
        return growth(rows, fits[fits["device"] == rows["device"].iloc[0]])
    return None


def _inside(figure: Figure) -> str:
    """Return a picture as an address that holds it, so that the page is one file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
