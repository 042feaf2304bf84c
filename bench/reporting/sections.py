"""The HTML page: for each csv file what was measured, where, every newest row, and pictures."""

import html
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cumel.esc50.reports.page import page, picture, table
from cumel.esc50.reports.plots import save

from reporting.drawings import drawings
from reporting.peers_ahead import REASONS, Ahead, ahead, pairs
from reporting.rows import Row, Topic, by, newest, read, times, unique
from reporting.topics import ABOUT, about

PLACE = ("device", "driver", "versions", "date", "commit")
DPI = 160


def ordered(results: Path) -> list[Topic]:
    """Read every csv file: the known ones first, in their order."""
    known = list(ABOUT)
    paths = sorted(results.glob("*.csv"), key=lambda path: (known.index(path.stem) if path.stem in known else 99, path))
    return [read(path, about(path.stem).keys) for path in paths]


def write_page(results: Path, out: Path, reasons: Mapping[tuple[str, str, str], str] = REASONS) -> Path:
    """Write index.html and its pictures as PNG files, and return its name; a missing reason is said there."""
    topics = ordered(results)
    if not topics:
        raise SystemExit(f"{results}: no csv files; run the benchmarks first")
    parts = {topic.name: _section(results, topic, out) for topic in topics}
    found = ahead(results, reasons)
    parts["ahead"] = _ahead(results, found)
    titles = {name: "Where a peer is ahead" if name == "ahead" else about(name).title for name in parts}
    contents = "".join(f'<li><a href="#{_anchor(name)}">{html.escape(title)}</a>' for name, title in titles.items())
    body = "".join(f'<h2 id="{_anchor(name)}">{html.escape(titles[name])}</h2>{part}' for name, part in parts.items())
    path = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(page("Benchmarks", f"<ul>{contents}</ul>{body}"), encoding="utf-8")
    return path


def _anchor(name: str) -> str:
    return re.sub(r"\W", "-", name)


def _section(results: Path, topic: Topic, out: Path) -> str:
    text = f'<p class="note">{html.escape(about(topic.name).text)}</p>'
    if not topic.rows:
        return f"{text}<p>No rows.</p>"
    kept = newest(topic.rows, about(topic.name).keys) if about(topic.name).keys else topic.rows
    for index, ((device,), rows) in enumerate(by(kept, "device").items()):
        text += _where(device, rows)
        for number_of, (caption, figure) in enumerate(drawings(results, topic.name, rows)):
            name = f"{topic.name}-{index}-{number_of}" if index or number_of else topic.name
            image = picture(caption, save(figure, out / f"{name}.png", DPI))
            text += f'<h3>{html.escape(caption)}</h3><div class="wide">{image}</div>'
        text += f'<div class="wide">{_table(topic.columns, rows)}</div>'
    older = len(topic.rows) - len(kept)
    return text + (f'<p class="note">{older} older rows are in {topic.name}.csv.</p>' if older else "")


def _where(device: str, rows: list[Row]) -> str:
    """List where and when the rows were measured, all of it."""
    said = [f"<b>{html.escape(device)}</b>"] if device else []
    found = {column: ", ".join(unique(rows, column)) for column in (*PLACE[1:], "arch", "nvrtc")}
    said += [f"{column} {html.escape(values)}" for column, values in found.items() if values not in ("", "-")]
    return f"<p>{'; '.join(said)}</p>"


def _table(columns: Iterable[str], rows: list[Row]) -> str:
    """Return every column that says something of these rows, numbers as they were written."""
    names = [name for name in columns if name not in PLACE and any(row[name] for row in rows)]
    cells = [[row[name] for name in names] for row in rows]
    words = {i for i, name in enumerate(names) if not all(_is_number(row[name]) for row in rows)}
    own = {i for i, row in enumerate(rows) if row.get("peer", row.get("backend", "")).startswith("cumel")}
    return table([name.replace("_", " ") for name in names], cells, words, own)


def _is_number(cell: str) -> bool:
    try:
        return not cell or not math.isnan(float(cell))
    except ValueError:
        return False


def _ahead(results: Path, found: list[Ahead]) -> str:
    """List every row of a peer that is ahead, and those that nothing of ours compares with."""
    compared = list(pairs(results))
    both = sum(pair.own is not None for pair in compared)
    text = f"{len(found)} times in {both} comparisons of a peer's row with ours at the same sizes, source or signal."
    alone = [
        f"{pair.topic}: {pair.peer['peer']} in {pair.common} on {pair.device}" for pair in compared if not pair.own
    ]
    lines = [
        (
            one.pair.topic,
            one.pair.device,
            one.pair.common,
            one.pair.peer["peer"],
            one.what,
            times(one.factor) + ("" if one.clear else ", within the spread"),
            one.pair.own["peer"] if one.pair.own else "",
            one.reason or "no reason is given yet",
        )
        for one in found
    ]
    names = ("benchmark", "device", "where", "peer", "is", "by", "than", "why")
    shown = f'<div class="wide">{table(names, lines, words=(0, 1, 2, 3, 4, 6, 7))}</div>' if lines else ""
    rest = f'<p class="note">Without a row of ours beside them: {html.escape("; ".join(alone))}.</p>' if alone else ""
    return f'<p class="note">{html.escape(text)}</p>{shown}{rest}'
