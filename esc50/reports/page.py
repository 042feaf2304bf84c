"""Self-contained HTML pages: a style for light and dark, tables, pictures inside the file."""

from __future__ import annotations

import base64
import html
from collections.abc import Container, Iterable
from pathlib import Path

LONG = 60  # characters of a cell that may be broken where a wide table is shown

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --page: #fff; --quiet: #66727f; --line: #e4e7eb; --block: #f5f7fa }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde3ea; --page: #161b22; --quiet: #9aa5b1; --line: #323a45; --block: #202731 }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem } a { color: inherit }
.big { font-size: 2.6rem; font-weight: 650; color: #d1495b } .note { color: var(--quiet) }
.wide { overflow-x: auto } .wide table { font-size: 13px } .wide td { white-space: nowrap }
.wide td.long { white-space: normal; min-width: 18rem }
table { border-collapse: collapse; width: 100% } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .15rem .6rem; border-bottom: 1px solid var(--line) } tr.own { font-weight: 650 }
img { max-width: 100%; background: #fff; border-radius: 4px }
.wide img { width: 100%; min-width: 36rem; max-width: none }
pre { background: var(--block); padding: 1rem; overflow: auto }
"""


def table(
    names: Iterable[str], rows: Iterable[Iterable[str]], words: Container[int] = (0,), own: Container[int] = ()
) -> str:
    """Return an HTML table; columns other than those of `words` are numbers, rows of `own` are set in bold."""
    names = list(names)
    kinds = ["" if i in words else " class=n" for i in range(len(names))]
    head = "".join(f"<th{kind}>{html.escape(name)}" for kind, name in zip(kinds, names, strict=True))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(
            f"<td{' class=long' if len(cell) > LONG else kind}>{html.escape(cell)}"
            for kind, cell in zip(kinds, row, strict=True)
        )
        lines.append(f"<tr{' class=own' if index in own else ''}>{cells}")
    return f"<table><tr>{head}{''.join(lines)}</table>"


def picture(caption: str, path: Path) -> str:
    """Return a PNG file as an image inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'


def page(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>cumel: {html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>{body}</html>"
    )
