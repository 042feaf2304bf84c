"""Tables of the README and the docs, the picture of speeds, and one HTML page, made from the rows in bench/results."""

import argparse
import hashlib
import json
from pathlib import Path

from PIL import Image

from reporting.page import DPI, write_page
from reporting.pictures import speed
from reporting.rows import latest
from reporting.speeds import fastest_batches
from reporting.tables import difference, render
from timing import RESULTS

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "bench" / "results"
SPEEDS = "docs/benchmarks.md"
DOCUMENTS = ("README.md", SPEEDS, "docs/frontends.md", "docs/onnx-runtimes.md")  # with the tables
PICTURE = Path("docs") / "speed.png"  # in the page of speeds
DIGEST = "Rows"  # key of a text inside the picture: the digest of the rows that it shows
REMEDY = "run python bench/report.py"


def digest(results: Path) -> str:
    """Return a text that differs when the rows in the picture do."""
    rows = fastest_batches(latest(results, "features")).to_dict("records")
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def check(root: Path, results: Path) -> None:
    """Exit with what is out of date: a document's tables, or the picture of speeds."""
    for name in DOCUMENTS:
        text = (root / name).read_text(encoding="utf-8")
        if changed := difference(text, render(text, results)):
            raise SystemExit(f"{name}: {changed}\n{REMEDY}")
    if PICTURE.name in (root / SPEEDS).read_text(encoding="utf-8"):
        path = root / PICTURE
        if not path.exists():
            raise SystemExit(f"{PICTURE}: {SPEEDS} shows it, but it is not there; {REMEDY}")
        with Image.open(path) as image:
            if image.info.get(DIGEST) != digest(results):
                raise SystemExit(f"{PICTURE}: shows other rows than those of features.csv; {REMEDY}")


def write(root: Path, results: Path) -> None:
    """Write the documents' tables, and the picture where the page of speeds shows one."""
    for name in DOCUMENTS:
        path = root / name
        old = path.read_text(encoding="utf-8")
        new = render(old, results)
        if new != old:
            path.write_text(new, encoding="utf-8")
    if PICTURE.name in (root / SPEEDS).read_text(encoding="utf-8"):
        figure = speed(latest(results, "features"))
        if figure is None:
            raise SystemExit(f"{PICTURE}: {SPEEDS} shows it, but features.csv has no row of one thread to draw")
        figure.savefig(root / PICTURE, dpi=DPI, metadata={DIGEST: digest(results)})


def main() -> None:
    """Write the page and the documents, or with --check only say what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of csv files; the documents show bench/results alone"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "report", help="folder for index.html")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a document is out of date")
    options = parser.parse_args()
    if options.check:
        check(ROOT, options.results)
        return
    print(write_page(options.results, options.out))
    if options.results.resolve() == COMMITTED:
        write(ROOT, options.results)


if __name__ == "__main__":
    main()
