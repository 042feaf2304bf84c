"""Tables of the README, pictures, and one HTML page out of the rows in bench/results."""

import argparse
import hashlib
import json
from pathlib import Path

from PIL import Image

from cumel.esc50.reports.plots import save
from cumel.kernels import CumelError

from reporting.drawings import speed
from reporting.feature_tables import best_rows
from reporting.markdown import latest
from reporting.readme import difference, render
from reporting.rows import Row
from reporting.sections import DPI, write_page
from timing import RESULTS

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "bench" / "results"
PICTURE = Path("docs") / "speed.png"  # the README's
DIGEST = "Rows"  # the text inside the picture that tells from which rows it was drawn
AGAIN = "run python bench/report.py"


def digest(rows: list[Row]) -> str:
    """Tell rows apart from others."""
    return hashlib.sha256(json.dumps(best_rows(rows)).encode()).hexdigest()


def check(root: Path, results: Path) -> None:
    """Exit with what is out of date: the README's tables, or its picture."""
    text = (root / "README.md").read_text(encoding="utf-8")
    if found := difference(text, render(text, results)):
        raise SystemExit(f"README.md: {found}\n{AGAIN}")
    if str(PICTURE) in text:
        path = root / PICTURE
        if not path.exists():
            raise SystemExit(f"{PICTURE}: README.md shows it, but it is not there; {AGAIN}")
        with Image.open(path) as image:
            if image.info.get(DIGEST) != digest(latest(results, "features")):
                raise SystemExit(f"{PICTURE}: was drawn from other rows than those of features.csv; {AGAIN}")


def write(root: Path, results: Path) -> None:
    """Write the README's tables, and its picture where it shows one."""
    path = root / "README.md"
    old = path.read_text(encoding="utf-8")
    new = render(old, results)
    if str(PICTURE) in new:
        rows = latest(results, "features")
        if not (figure := speed(rows)):
            raise SystemExit(f"{PICTURE}: README.md shows it, but features.csv has no row of one thread to draw")
        save(figure, root / PICTURE, DPI, {DIGEST: digest(rows)})
    if new != old:
        path.write_text(new, encoding="utf-8")


def main() -> None:
    """Write everything, or with --check only say what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of csv files; README.md is of bench/results alone"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "report", help="folder for index.html and pictures"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when README.md is out of date")
    options = parser.parse_args()
    if options.check:
        check(ROOT, options.results)
        return
    try:
        print(write_page(options.results, options.out))
        if options.results.resolve() == COMMITTED:
            write(ROOT, options.results)
    except CumelError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
