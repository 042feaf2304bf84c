"""Write the README's tables from the rows in bench/results; no number is typed there by hand."""

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench:{} -->", "<!-- /bench:{} -->"


def latest(topic: str, *keys: str) -> list[dict[str, str]]:
    """Return a topic's newest row for each value of the keys, in the order in which they were measured."""
    with (ROOT / "bench" / "results" / f"{topic}.csv").open(newline="") as file:
        rows = {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}
    return list(rows.values())


def features_table() -> str:
    """Return the log-mel table as Markdown."""
    rows = latest("features", "op", "threads", "peer")
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


def static_table() -> str:
    """Return what the compiler alone tells of the kernels as Markdown."""
    rows = [row for row in latest("static", "op", "arch") if row["arch"] == "sm_90"]
    names = ("log-mel", "registers", "instructions per frame", "FMA, add, mul", "L1 wavefronts", "and bank conflicts")
    names += ("M clips/s at most: issue", "L1", "DRAM")
    lines = [f"| {' | '.join(names)} |", f"| --- |{' ---: |' * (len(names) - 1)}"]
    for row in rows:
        arithmetic = float(row["FMA instructions"]) + float(row["add, mul instructions"])
        counts = (float(row["instructions"]), arithmetic, float(row["wavefronts"]), float(row["bank_conflicts"]))
        bounds = (f"{float(row[name]) / 1e6:.2f}" for name in ("issue_clips_s", "l1_clips_s", "dram_clips_s"))
        cells = (row["op"].removeprefix("log_mel "), row["registers"], *(f"{n:.0f}" for n in counts), *bounds)
        lines.append(f"| {' | '.join(cells)} |")
    last = rows[-1]
    where = (
        f"{last['arch']}, NVRTC {last['nvrtc']}, {last['date']}; clips of {last['clip_s']} s, {last['clock_ghz']} GHz."
    )
    return "\n".join([*lines, "", where])


def extract_table() -> str:
    """Return files on disk to features on disk as Markdown."""
    rows = latest("extract", "op", "peer")
    lines = ["| | files/s | speed of librosa | of the bound |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        own = "**" if row["peer"].startswith("cumel") else ""
        ratio, share = f"{float(row['speed_of_librosa']):.1f} x", f"{float(row['of_bound']):.0%}"
        cells = (f"{own}{row['peer']}{own}", f"{float(row['files_per_s']):.0f}", ratio, share)
        lines.append(f"| {' | '.join(cells)} |")
    last = rows[-1]
    where = f"{last['files']} WAV clips of 5 s at 44.1 kHz; {last['device']}; {last['versions']}; {last['date']}."
    return "\n".join([*lines, "", where])


def inference_table() -> str:
    """Return the exported model's parts and its whole way, beside torch's, as Markdown."""
    parts = [("inference_frontend", "of_STFT op"), ("inference", "of_torch eager")]
    lines = ["| | | ms per clip | of the first | KiB |", "| --- | --- | ---: | ---: | ---: |"]
    for topic, ratio in parts:
        rows = latest(topic, "op", "peer")
        for row in rows:
            kib = f"{float(row['kib']):,.0f}" if float(row["kib"]) else ""
            cells = (row["op"], row["peer"], f"{float(row['ms_per_clip']):.1f}", f"{float(row[ratio]):.2f}", kib)
            lines.append(f"| {' | '.join(cells)} |")
    last = rows[-1]
    where = f"One thread, one clip; {last['device']}; {last['versions']}; {last['date']}."
    return "\n".join([*lines, "", f"{where} Compare ratios: each part's rows are of one run."])


TABLES = {"features": features_table, "extract": extract_table, "inference": inference_table, "static": static_table}


def render(readme: str) -> str:
    """Return the README with its tables made anew."""
    for topic, table in TABLES.items():
        begin, end = BEGIN.format(topic), END.format(topic)
        head, _, rest = readme.partition(begin)
        _, _, tail = rest.partition(end)
        readme = f"{head}{begin}\n{table()}\n{end}{tail}"
    return readme


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
