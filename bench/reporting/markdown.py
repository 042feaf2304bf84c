"""How the Markdown tables are written."""

import math

import pandas as pd


def table(rows: pd.DataFrame, words: tuple[str, ...]) -> str:
    """Return a table of text cells; columns other than `words` are numbers, and empty columns are left out."""
    rows = rows.loc[:, (rows != "").any()]
    lines = [list(rows.columns), ["---" if name in words else "---:" for name in rows.columns]]
    lines += rows.map(lambda cell: cell.replace("|", r"\|")).values.tolist()
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def bold(name: str) -> str:
    """Mark a row of ours."""
    return f"**{name}**" if name.startswith("cumel") else name


def short(value: float) -> str:
    """Write a number with three digits, or all of those before the point; nothing for NaN."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return str(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def times(value: float) -> str:
    """Write a ratio."""
    return "" if math.isnan(value) else f"{short(value)} x"


def percent(value: float, digits: int = 0) -> str:
    """Write a share; with digits, 100 % is said only of all."""
    if math.isnan(value):
        return ""
    if digits and value < 1:
        return f"{min(100 * value, 100 - 10.0**-digits):.{digits}f} %"
    return "100 %" if digits else f"{value:.0%}"
