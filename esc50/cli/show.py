"""What the commands print: a table for people, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..system import printable, rate

if TYPE_CHECKING:
    from ..inputs import Listing

MOST_ROWS = 20  # most rows of a list on the screen; --json has them all


def as_json(report: dict[str, Any]) -> None:
    """Print a report as JSON."""
    json.dump(report, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def notes(lines: list[str]) -> None:
    """Print what a user should know, and need not mend."""
    for line in lines:
        print(f"note: {printable(line)}", file=sys.stderr)


def facts(report: dict[str, Any], json_only: bool) -> None:
    """Print a flat report, a line per fact."""
    if json_only:
        return as_json(report)
    for name, value in report.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        line = f"[bold]{name.replace('_', ' ')}[/]  {escape(printable(str(shown)))}"
        Console(emoji=False).print(line, soft_wrap=True, highlight=False)
    return None


def trained(report: dict[str, Any], json_only: bool) -> None:
    """Print what `train` did; what its data is was said before it began."""
    return facts(report if json_only else {name: value for name, value in report.items() if name != "data"}, json_only)


def failed(failures: list[dict[str, Any]], n: int | None = None) -> None:
    """Print the first of `n` failures, or of all that are given."""
    n = len(failures) if n is None else n
    for failure in failures[:MOST_ROWS]:
        print(printable(failure["error"]), file=sys.stderr)
    if n > MOST_ROWS:
        print(f"... and {n - MOST_ROWS} more; --json lists them all", file=sys.stderr)


def _console() -> Console:
    """Return the screen, or 160 columns where the output goes into a file or pipe, so that paths stay whole.

    $COLUMNS goes before both.
    """
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(emoji=False, width=None if known else 160)


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def extraction(report: dict[str, Any], json_only: bool, quiet: bool = False) -> None:
    """Print what `extract` did."""
    if json_only:
        return as_json(report)
    if not quiet:
        _say_extracted(report)
        for path in report["silent"][:MOST_ROWS]:
            print(f"{printable(path)}: mixed to one channel, every sample is zero: silence", file=sys.stderr)
    return failed(report["failures"], report["failed"] + report["failed_before"])


def _say_extracted(report: dict[str, Any]) -> None:
    for note in report["notes"]:
        print(printable(note), file=sys.stderr)
    kept, failed = report["kept"], report["failed_before"]
    before = f"; {failed} of those named here failed, --retry-errors takes them again" if failed else ""
    if report["files"]:
        times = report["audio_seconds"] / max(report["seconds"], 1e-9)
        speed = rate(report["files"], report["seconds"], "files")
        print(
            f"{report['extracted']} of {report['files']} files, {report['audio_seconds'] / 60:.1f} min of audio in "
            f"{report['seconds']:.1f} s ({speed}, {times:.0f} x real time) on "
            f"{report['device']}, into {report['store']}"
        )
        if kept:
            print(f"{kept} files were there already{before}")
    else:
        print(f"nothing to do: {report['store']} holds all {kept} files{before}")
    if report["dropped"]:
        print(f"dropped: {count(report['dropped'], 'row')} of failures")


def left_out(listing: Listing) -> None:
    """Say what searched folders had besides recordings."""
    from ..inputs import shown

    if listing.left_out:
        print(f"left out: {shown(listing.left_out)}", file=sys.stderr)


def verification(report: dict[str, Any], json_only: bool) -> None:
    """Print what `verify` found."""
    if json_only:
        return as_json(report)
    table = _table("file", "seconds", "max dB", "mean dB", "worst at", numbers=("seconds", "max dB", "mean dB"))
    read = [row for row in report["rows"] if "error" not in row]
    for row in sorted(read, key=lambda row: -row["max_db"])[:MOST_ROWS]:
        numbers = (f"{row['seconds']:.2f}", f"{row['max_db']:.1e}", f"{row['mean_db']:.1e}")
        table.add_row(escape(printable(row["file"])), *numbers, row["worst_at"])
    _console().print(table)
    if len(read) > MOST_ROWS:
        print(f"... and {len(read) - MOST_ROWS} better ones; --json lists them all")
    failed([row for row in report["rows"] if "error" in row])
    if read:
        verdict = "within" if all(row["ok"] for row in read) else "BEYOND"
        limit = report["tolerance"]
        print(
            f"{len(read)} files on {report['device']} against {report['reference']}: max {report['max_db']:.1e} dB, "
            f"mean {report['mean_db']:.1e} dB, {verdict} {limit['max_db']:g} and {limit['mean_db']:g}"
        )
    return None


def differences(report: dict[str, Any], json_only: bool) -> None:
    """Print what `verify --against` found."""
    if json_only:
        return as_json(report)
    table = _table("file", "seconds", "shape", "max", "median", "worst at", numbers=("seconds", "max", "median"))
    read = [row for row in report["rows"] if "error" not in row]
    for row in sorted(read, key=lambda row: (row["ok"], -row["max"]))[:MOST_ROWS]:
        numbers = (f"{row['max']:.1e}", f"{row['median']:.1e}")
        where = "; ".join([row["worst_at"], *(f"{name} differs" for name in row["unequal"])])
        shape = " x ".join(map(str, row["shape"]))
        table.add_row(escape(printable(row["file"])), f"{row['seconds']:.2f}", shape, *numbers, where)
    _console().print(table)
    if len(read) > MOST_ROWS:
        print(f"... and {len(read) - MOST_ROWS} better ones; --json lists them all")
    failed([row for row in report["rows"] if "error" in row])
    if read:
        verdict, limit = "within" if all(row["ok"] for row in read) else "BEYOND", report["tolerance"]
        print(
            f"{len(read)} files against {report['reference']}: max {report['max']:.1e}, median {report['median']:.1e}, "
            f"{verdict} {limit['max']:g} and {limit['median']:g}"
        )
    if report["picture"]:
        print(f"the largest difference: {report['picture']}")
    return None


def integrity(report: dict[str, Any], json_only: bool) -> None:
    """Print what `verify` found of a store."""
    if json_only:
        return as_json(report)
    failed([*report["files"], *report["rows"]])
    store = printable(report["store"])
    if not report["finished"]:
        print(f"{store}: is not finished; the same `cumel extract` goes on")
    if report["unchecked"]:
        print(
            f"{count(report['unchecked'], 'recording')} came from an earlier version, without a checksum: whether the "
            "features are right cannot be verified, only that they are there"
        )
    verdict = f"{count(len(report['files']), 'file')} and {count(report['damaged'], 'recording')} DAMAGED"
    print(
        f"{store}: {count(report['recordings'], 'recording')}, features of {report['checked']} compared with their "
        f"checksums; {'nothing is damaged' if report['passed'] else verdict}"
    )
    return None


def evaluation(report: dict[str, Any], json_only: bool) -> None:
    """Print what `evaluate` found."""
    if json_only:
        return as_json(report)
    table = _table("class", "clips", "recall", "precision", "taken for", numbers=("clips", "recall", "precision"))
    for row in report["classes"]:
        precision = "" if row["precision"] is None else f"{row['precision']:.2f}"
        label, mistaken_for = (escape(printable(row[name] or "")) for name in ("label", "mistaken_for"))
        table.add_row(label, str(row["clips"]), f"{row['recall']:.2f}", precision, mistaken_for)
    _console().print(table)
    low, high = report["interval"]
    average = report.get("mean_average_precision")
    more = "" if average is None else f"mean average precision {average:.3f}, "
    print(
        f"accuracy {report['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}), {more}"
        f"macro F1 {report['macro_f1']:.3f} on {report['clips']} clips of fold {report['fold']} "
        f"(chance {report['chance']:.3f}), recipe {report['recipe']}, on {report['device']}"
    )
    print(f"confusion matrix: {report['confusion']}\n" * bool(report["confusion"]) + f"report: {report['report']}")
    return None


def cross_validation(report: dict[str, Any], json_only: bool) -> None:
    """Print what `cross-validate` found."""
    if json_only:
        return as_json(report)
    seeds = [f"seed {row['seed']}" for row in report["seeds"]]
    names = ("fold", "clips", *seeds, "ensemble")
    table = _table(*names, numbers=names)
    for row in report["folds"]:
        accuracies = [f"{value:.3f}" for value in (*row["accuracies"], row["ensemble"])]
        table.add_row(str(row["fold"]), str(row["clips"]), *accuracies)
    means = [f"{row['mean']:.3f} ± {row['spread']:.3f}" for row in report["seeds"]]
    table.add_row("mean", "", *means, f"{report['ensemble']:.3f}")
    _console().print(table)
    print(f"mean {report['mean']:.3f}, spread {report['spread']:.3f} between seeds, recipe {report['recipe']}")
    print(f"report: {report['report']}")
    return None


def models(rows: list[dict[str, Any]], json_only: bool) -> None:
    """Print what `--model` can name."""
    if json_only:
        return as_json({"models": rows})
    table = _table("model", "parameters", "multiply-adds", "for", "what", numbers=("parameters", "multiply-adds"))
    for row in rows:
        shape = " x ".join(map(str, row["input_shape"][1:]))
        table.add_row(
            row["model"], f"{row['parameters'] / 1e6:.2f} M", f"{row['macs'] / 1e9:.2f} G", shape, row["about"]
        )
    return _console().print(table)


def count(n: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def plotted(report: dict[str, Any], json_only: bool) -> None:
    """Print what `plot` drew."""
    if json_only:
        return as_json(report)
    failed(report["failures"])
    if report["plot"]:
        more = f", the first {report['clips']} of {report['clips'] + report['left_out']}" if report["left_out"] else ""
        print(f"picture: {report['plot']} ({report['clips']} clips{more})")
    return None


def site(report: dict[str, Any], json_only: bool) -> None:
    """Print what `web` wrote."""
    if json_only:
        return as_json(report)
    table = _table("bytes", "file", numbers=("bytes",))
    for name, size in report["files"].items():
        table.add_row(f"{size:,}", escape(name))
    _console().print(table)
    size, version = f"{report['bytes'] / 1e6:.1f} MB", report["onnxruntime_web"]
    print(f"{size} in {printable(report['site'])}, with onnxruntime-web {version}")
    print(f"serve it: {printable(report['serve'])}")
    return None


def diagnosis(report: dict[str, Any], json_only: bool) -> None:
    """Print what `doctor` found."""
    if json_only:
        return as_json(report)
    table = _table("", "what", "found")
    for check in report["checks"]:
        mark = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "bad": "[red]BAD[/]"}[check["state"]]
        table.add_row(mark, escape(check["name"]), escape(check["text"]))
    _console().print(table)
    print("healthy" if report["healthy"] else "not healthy: mend what is marked BAD")
    return None
