"""Write the README's tables from the rows in bench/results; no number is typed there by hand."""

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench:{} -->", "<!-- /bench:{} -->"


def latest(path: Path) -> list[dict[str, str]]:
    """Return the newest row of each peer and thread count, in the order in which they were measured."""
    with path.open(newline="") as file:
        rows = {(row["op"], row["threads"], row["peer"]): row for row in csv.DictReader(file)}
    return list(rows.values())


def features_table() -> str:
    """Return the log-mel table as Markdown."""
    rows = latest(ROOT / "bench" / "results" / "features.csv")
    lines = [
        "| threads | peer | clips at once | ms per clip | speed of librosa | speed of torchaudio | max dB error |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        own = "**" if row["peer"].startswith("cumel") else ""
        ratios = [f"{float(row[name]):.1f} x" for name in ("speed_of_librosa", "speed_of_torchaudio")]
        time, error = f"{float(row['ms_per_clip']):.2f}", f"{float(row['max_db']):.1e}"
        cells = (row["threads"], f"{own}{row['peer']}{own}", row["batch"], time, *ratios, error)
        lines.append(f"| {' | '.join(cells)} |")
    last = rows[-1]
    lines += ["", f"{last['device']}; {last['versions']}; {last['date']}. Error against librosa in float64."]
    return "\n".join(lines)


def render(readme: str) -> str:
    """Return the README with its tables made anew."""
    begin, end = BEGIN.format("features"), END.format("features")
    head, _, rest = readme.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{features_table()}\n{end}{tail}"


def main() -> None:
    """Write README.md, or with --check only say whether it is up to date."""
    path = ROOT / "README.md"
    old = path.read_text()
    new = render(old)
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if new == old else "README.md: its tables differ from bench/results; run `make bench`")
    path.write_text(new)


if __name__ == "__main__":
    main()
