"""The documents' numbers are those of the csv files, the page shows all of them, and peers ahead need reasons."""

import csv
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import report
from reporting.page import write_page
from reporting.peers_ahead import CLOSER, FASTER, REASONS, comparisons, demand_reasons, peers_ahead
from reporting.tables import BEGIN, END, MARKER, TABLES, render

ROOT = Path(__file__).parents[2]
CPU = {"device": "a processor", "driver": "-", "versions": "librosa 1", "date": "2026-01-02", "commit": "abc"}
GPU = CPU | {"device": "a GPU", "driver": "13.0"}
LIBROSA, TORCHAUDIO, OURS = "librosa", "torchaudio", "cumel"


def features(peer: str, ms: float, max_db: float, place: dict[str, str] = CPU, **changed: str) -> dict[str, str]:
    numbers = {"ms_per_clip": ms, "p20_ms": 0.9 * ms, "p80_ms": 1.1 * ms, "repeats": 9, "clips_per_s": 1e3 / ms}
    paired = {f"same_batch_speed_of_{rival}": 99.0 for rival in (LIBROSA, TORCHAUDIO)}
    ratios = {"x_real_time": 5e3 / ms, **paired, "max_db": max_db}
    rest = {"mean_db": max_db / 9, "GB_per_s": 0.5, "of_copy_rate": "", "peak_mb": 100}
    key = {"preset": "esc50", "peer": peer, "source": "float32", "threads": 1, "batch": 1}
    row = {**key, **numbers, **ratios, **rest, **changed, **place}
    return {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}


def write(folder: Path, name: str, rows: list[dict[str, str]]) -> Path:
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Write a few rows of every schema that the project's own files do not have."""
    folder = tmp_path / "results"
    folder.mkdir()
    write(folder, "features", [features(LIBROSA, 12, 4e-4), features(TORCHAUDIO, 8, 3e-4), features(OURS, 2.345, 2e-4)])
    write(folder, "scaling", growing())
    fit = {"axis": "n_fft", "first": "256", "last": "1024", "exponent": "1.013", "worst_factor": "1.1"}
    write(folder, "scaling_exponents", [{"peer": OURS, **fit, **CPU}])
    errors = [("noise", "2e-05", "band 3"), ("chirp", "0.003", "band 4"), ("silence", "0", "")]
    rows = [
        {"backend": f"{OURS} CPU", "preset": "esc50", "signal": signal, "max_db": most, "mean_db": "1e-06",
         "worst_at": at, "exact_uint8": "0.9996"} | CPU
        for signal, most, at in errors
    ]  # fmt: skip
    write(folder, "accuracy", rows)
    return folder


def ahead(results: Path, reasons: dict[tuple[str, str, str], str] = REASONS) -> list[tuple[str, str, float, str]]:
    """Return peer, advantage, factor and reason."""
    found = peers_ahead(comparisons(results), reasons)
    return [(row.peer, row.what, round(row.factor, 3), row.reason) for row in found.itertuples()]


def growing() -> list[dict[str, str]]:
    empty = dict.fromkeys(("p20_ms", "p80_ms", "repeats", "peak_mb"), "")
    return [
        {"axis": "n_fft", "peer": peer, "value": str(n), "ms": str(n * k), **empty, **CPU}
        for peer, k in ((LIBROSA, 3), (OURS, 1))
        for n in (256, 512, 1024)
    ]


@pytest.fixture
def root(tmp_path: Path, results: Path) -> Path:
    """Make a page with four tables and the picture, and the other documents with a table or none, up to date."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/frontends.md").write_text(f"{BEGIN.format('hour')}\n{END.format('hour')}\n")
    hour = {"preset": "kaldi", "peer": OURS, "package": "", "seconds": "1.5", "peak_mb": "110", "features_mb": "109.9"}
    write(results, "hour", [hour | CPU])
    tables = "\n".join(f"{BEGIN.format(t)}\n{END.format(t)}" for t in ("features", "scaling", "accuracy", "ahead"))
    (tmp_path / "README.md").touch()
    (tmp_path / "docs" / "onnx-runtimes.md").touch()
    (tmp_path / report.SPEEDS).write_text(f"# Speed\n![](speed.png)\n{tables}\nThe end.\n")
    report.write(tmp_path, results)
    return tmp_path


def stopped(root: Path, results: Path) -> str:
    with pytest.raises(SystemExit) as found:
        report.check(root, results)
    return str(found.value)


def test_the_documents_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "bench" / "report.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_documents_show_every_table() -> None:
    texts = [(ROOT / name).read_text() for name in report.DOCUMENTS]
    assert {name for text in texts for _, name in MARKER.findall(text)} == set(TABLES)


def test_a_ratio_is_of_the_fastest_batches(results: Path) -> None:
    rows = [
        features(LIBROSA, 12, 4e-4),
        features(TORCHAUDIO, 4, 3e-4),
        features(TORCHAUDIO, 16, 3e-4, batch="16"),
        features(OURS, 3, 2e-4),
        features(OURS, 2, 2e-4, batch="16"),
    ]
    write(results, "features", rows)
    text = render("<!-- bench:features -->\n<!-- /bench:features -->", results)
    assert "| **cumel** | 16 | 2.00 (1.80-2.20) | 2,500 | 6.00 x | 2.00 x |" in text


def test_what_was_written_passes(root: Path, results: Path) -> None:
    text = (root / report.SPEEDS).read_text()
    report.check(root, results)
    assert "| `esc50` | 1 | **cumel** | 1 | 2.35 (2.11-2.58) | 2,132 | 5.12 x | 3.41 x | 2.0e-04 |" in text
    assert "| n_fft | **cumel** | 256 to 1024 | 1.01 | 1.10 x |" in text
    assert "| **cumel CPU** | 2.0e-05 | esc50, noise: band 3 | 0.00300 | esc50, chirp: band 4 |" in text
    assert "Nowhere in 2 comparisons." in text
    assert (text.split("\n")[0], text.split("\n")[-2]) == ("# Speed", "The end.")


def test_a_changed_number_in_another_document_is_named(root: Path, results: Path) -> None:
    page = root / "docs" / "frontends.md"
    page.write_text(page.read_text().replace("| 1.50 | 110 | 110 |", "| 1.40 | 110 | 110 |"))
    assert stopped(root, results).startswith("docs/frontends.md: line 4, table bench:hour, has")


@pytest.mark.parametrize(
    ("table", "old", "new"), [("features", "2.35", "2.25"), ("scaling", "1.01", "0.99"), ("accuracy", "99.96", "99.97")]
)
def test_a_changed_number_is_named(root: Path, results: Path, table: str, old: str, new: str) -> None:
    path = root / report.SPEEDS
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    text = stopped(root, results)
    assert f"table bench:{table}, has" in text
    assert new in text.split("where")[0]
    assert old in text.split("where")[1]


def test_a_changed_number_in_a_csv_file_is_named(root: Path, results: Path) -> None:
    path = results / "features.csv"
    path.write_text(path.read_text().replace("2.345", "2.545"))
    assert "table bench:features, has" in stopped(root, results)


def test_a_picture_of_other_rows_is_named(root: Path, results: Path) -> None:
    path = results / "features.csv"
    path.write_text(path.read_text().replace(",0.5,", ",0.6,"))  # GB/s, which no table of the page shows
    assert "docs/speed.png: shows other rows" in stopped(root, results)
    (root / "docs" / "speed.png").unlink()
    assert "docs/speed.png: docs/benchmarks.md shows it, but it is not there" in stopped(root, results)


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("<!-- bench:extract -->\n<!-- /bench:extract -->", "shows bench:extract, but there is no .*extract.csv"),
        ("<!-- bench:features -->", "bench:features must stand between one"),
        ("<!-- /bench:features --><!-- bench:features -->", "bench:features must stand between one"),
        ("<!-- bench:fetures -->\n<!-- /bench:fetures -->", "bench:fetures is no table; there are front, "),
    ],
)
def test_wrong_markers(results: Path, readme: str, said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        render(readme, results)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("op,peer\nx,y\n", "features.csv: no column preset"),
        ("preset,peer\nesc50\n", "features.csv: row 1 has 1 cells where the header has 2"),
        ("", "features.csv: no column preset"),
    ],
)
def test_wrong_csv_files(results: Path, text: str, said: str) -> None:
    (results / "features.csv").write_text(text)
    with pytest.raises(SystemExit, match=said):
        render("<!-- bench:features -->\n<!-- /bench:features -->", results)


def test_the_newest_row_of_each_device_counts(results: Path) -> None:
    new = CPU | {"date": "2026-01-03"}
    rows = [features(LIBROSA, 0.001, 4e-4, GPU), features(OURS, 50, 2e-4), features(LIBROSA, 12, 4e-4)]
    write(results, "features", [*rows, features(OURS, 2, 2e-4, new)])
    text = render("<!-- bench:features -->\n<!-- /bench:features -->", results)
    assert "| **cumel** | 1 | 2.00 (" in text
    assert "50.0" not in text
    assert "a GPU" not in text
    assert ahead(results) == [], "the GPU's librosa is faster than the processor's cumel, which is no comparison"


def test_a_peer_that_is_ahead_needs_a_reason(results: Path, root: Path) -> None:
    write(results, "features", [features("another", 1, 1e-4), features(OURS, 2, 2e-4)])
    with pytest.raises(
        SystemExit, match=r"REASONS .*\n  \('features', 'another', 'faster'\): in esc50, threads 1, batch 1, float32"
    ):
        render((root / report.SPEEDS).read_text(), results)
    reasons = {("features", "another", FASTER): "a fast machine", ("features", "another", CLOSER): ""}
    with pytest.raises(SystemExit, match=r"'closer to librosa'\): in esc50, .*, 2 x, a processor"):
        demand_reasons(peers_ahead(comparisons(results), reasons), results)
    assert ahead(results, reasons | {("features", "another", CLOSER): "luck"}) == [
        ("another", FASTER, 2, "a fast machine"), ("another", CLOSER, 2, "luck")
    ]  # fmt: skip


def test_a_page_needs_no_reasons(results: Path, tmp_path: Path) -> None:
    write(results, "features", [features("another", 1, 3e-4), features(OURS, 2, 2e-4)])
    write_page(results, tmp_path)
    assert "no reason is given yet" in (tmp_path / "index.html").read_text()


def test_a_row_without_a_time_is_compared_with_nothing(results: Path) -> None:
    write(results, "features", [features("another", 1, 1e-4, ms_per_clip=""), features(OURS, 2, 2e-4)])
    assert ahead(results) == []


def test_reasons_are_in_the_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(results, "features", [features("another", 1, 3e-4), features(OURS, 2, 2e-4)])
    monkeypatch.setitem(REASONS, ("features", "another", FASTER), "a fast machine")
    text = render("<!-- bench:ahead -->\n<!-- /bench:ahead -->", results)
    assert (
        "| features | another | faster | 1 of 1 | 2.00 x | esc50, threads 1, batch 1, float32 | a fast machine |"
        in text
    )


def test_a_backend_that_is_closer_is_found(results: Path) -> None:
    common = {"preset": "esc50", "signal": "tone", "mean_db": "", "worst_at": "", "exact_uint8": ""} | CPU
    errors = {"torchaudio": "1e-3", f"{OURS} CPU": "2e-3", f"{OURS} in ONNX": "1e-4", "scipy": "3e-3"}
    write(results, "accuracy", [common | {"backend": name, "max_db": most} for name, most in errors.items()])
    assert [row[:3] for row in ahead(results)] == [("torchaudio", CLOSER, 2)]
    assert set(comparisons(results).query("topic == 'accuracy'")["place"]) == {"esc50, tone"}


def test_parts_of_the_work_are_no_peers(results: Path) -> None:
    row = {"op": "extract", "threads": "2", "files": "9"}
    speeds = {"librosa under joblib": "100", "cumel extract": "300", "decode alone": "900", "bound: decode": "400"}
    write(results, "extract", [row | {"peer": peer, "files_per_s": n} | CPU for peer, n in speeds.items()])
    assert ahead(results) == []


class Sources(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, list[str]] = {"src": [], "href": [], "id": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.get(name, []).append(value or "")


def test_the_page_holds_all_rows(results: Path, tmp_path: Path) -> None:
    write(results, "odd things", [{"what": "<b>&", "n": "1"}, {"what": "<b>&", "n": ""}])
    with (results / "features.csv").open("a") as file:
        strange = features(OURS, 0.001, 2e-4, GPU, threads="0", p20_ms="") | {"max_db": ""}
        file.write(",".join(strange.values()) + "\n")
    (results / "routes.csv").write_text("op,peer,threads,batch,ms_per_clip,device\n")
    page, text = Sources(), write_page(results, tmp_path / "out").read_text()
    page.feed(text)
    sources, links, ids = page.attributes.values()
    assert len(sources) == 3, "of speed, on each device, and of growth"
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe"} & page.tags
    assert "url(" not in text
    assert {link.removeprefix("#") for link in links} == {*ids}
    assert {"features", "scaling", "accuracy", "odd-things", "routes", "ahead"} <= {*ids}
    assert text.count("&lt;b&gt;&amp;") == 2, "of an unknown file every row is shown"
    assert "<b>a GPU</b>; driver 13.0" in text
    assert "No rows." in text
    for name in ("features", "scaling", "accuracy"):
        for row in csv.DictReader((results / f"{name}.csv").read_text().splitlines()):
            cells = [cell for name, cell in row.items() if cell and name not in CPU]
            assert [cell for cell in cells if not re.search(rf"<td[^>]*>{re.escape(cell)}\s*<", text)] == []


def test_a_page_needs_neither_fits_nor_peers(results: Path, tmp_path: Path) -> None:
    for name in ("features", "accuracy", "scaling_exponents"):
        (results / f"{name}.csv").unlink()
    text = write_page(results, tmp_path).read_text()
    assert text.count("<img") == 1
    assert "0 times in 0 comparisons" in text


def test_the_page_needs_files(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no csv files; run the benchmarks first"):
        write_page(tmp_path, tmp_path)
