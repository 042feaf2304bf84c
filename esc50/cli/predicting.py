"""What `predict` does: recordings or raw samples in, results to the screen, a file, a picture or one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...export.prediction import (
    BATCHES,
    HEADERS,
    STDOUT,
    Format,
    Heard,
    Result,
    Tally,
    check_call,
    classify,
    format_of,
    hear,
    listen,
    rows_into,
)
from ...export.runtime import Model
from ...kernels import CumelError, FeatureConfig
from ..inputs import STDIN, resolve
from ..reports import MAX_CLIPS, MOST_TRACKS, Track, check_picture, draw_results, plot_timelines
from ..system import bar
from . import show

FEW_FILES = 16  # need no progress bar


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is to be classified."""

    inputs: list[str]
    layout: Format | None  # of raw samples on stdin
    hop_seconds: float | None

    @classmethod
    def of(
        cls,
        inputs: list[str],
        *,
        raw: bool,
        sr: int | None,
        channels: int | None,
        dtype: str | None,
        hop_seconds: float | None,
    ) -> Source:
        """Check what was given; a `CumelError` for what does not go together."""
        if not raw:
            for name, value in (("channels", channels), ("dtype", dtype)):
                if value is not None:
                    raise CumelError(f"--{name} {value}: only --raw samples have one; recordings tell theirs")
            if STDIN in inputs:
                _check_list()
            return cls(inputs=inputs, layout=None, hop_seconds=hop_seconds)
        if inputs != [STDIN]:
            raise CumelError(f"--raw reads stdin alone: give - as the only input, not {' '.join(inputs)}")
        if sr is None:
            raise CumelError("--raw needs --sr, the rate of the samples in Hz, as in --raw --sr 44100 -")
        layout = Format(sr=sr, channels=1 if channels is None else channels, dtype=dtype or "int16")
        if sys.stdin is None or sys.stdin.closed:
            raise CumelError("stdin is closed; pipe raw samples into it")
        if sys.stdin.isatty():
            raise CumelError(
                "stdin is a terminal; pipe raw samples into it, as `arecord -t raw -f S16_LE -r 44100` does"
            )
        return cls(inputs=inputs, layout=layout, hop_seconds=hop_seconds)

    @property
    def windowed(self) -> bool:
        """Whether all of each recording is heard, window by window."""
        return self.layout is not None or self.hop_seconds is not None

    def heard(self, model: Model) -> tuple[Iterable[Heard], int]:
        """Return the windows, and of how many files."""
        if self.layout is not None:
            return hear(sys.stdin.fileno(), self.layout, model.recipe, self.hop_seconds), 1
        paths = resolve(self.inputs)
        show.left_out(paths)
        return listen(paths, model.recipe, self.hop_seconds), len(paths)


def _check_list() -> None:
    """Refuse a recording on stdin where a list of files belongs."""
    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    if peek is not None and not sys.stdin.isatty() and peek(16)[:16].startswith(HEADERS):
        raise CumelError("stdin: holds a recording, not a list of files; save it and name it, or pipe --raw samples")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where results go."""

    out: str | None
    format: str
    plot: Path | None
    as_json: bool

    @classmethod
    def of(cls, out: str | None, named: str | None, plot: Path | None, *, as_json: bool) -> Target:
        """Check what was given; a `CumelError` for what does not go together."""
        kind = format_of(out, named)
        out = STDOUT if out is None and named is not None else out
        if as_json and out == STDOUT:
            raise CumelError("--json prints one object on stdout, so rows cannot go there: give --out a file")
        if plot is not None:
            check_picture(plot)
        return cls(out=out, format=kind, plot=plot, as_json=as_json)

    @property
    def on_screen(self) -> bool:
        """Whether results are printed for people."""
        return self.out is None and not self.as_json


def run(model: Model, source: Source, target: Target, top: int | None, cfg: FeatureConfig) -> int:
    """Classify, and return the exit code: 1 when an input failed."""
    top = (3 if source.windowed else 5) if top is None else top
    check_call(model, top=top, cfg=cfg, hop_seconds=source.hop_seconds)
    heard, n_files = source.heard(model)
    tally, pictures, failures, rows = Tally(), _Pictures(target.plot, source.windowed, top), [], []
    batch = 1 if source.layout is not None else BATCHES[model.session.on_gpu]
    with ExitStack() as held:
        takers: list[Callable[[dict[str, Any]], None]] = []
        if target.out is not None:
            takers.append(held.enter_context(rows_into(target.out, target.format, top)))
        elif target.as_json:
            takers.append(rows.append)
        else:
            takers.append(show.Predictions(source.windowed))
        quiet = source.layout is not None or (n_files <= FEW_FILES and not source.windowed)
        quiet = quiet or (target.on_screen and sys.stdout.isatty())
        advance = held.enter_context(bar("classify", n_files, "files", quiet=quiet))
        for result in classify(model, heard, batch):
            tally.add(result.heard)
            row = result.row(top)
            for take in takers:
                take(row)
            pictures.take(result)
            if row["error"] is not None and len(failures) <= show.MOST_ROWS:
                failures.append(row)
            advance(result.heard.first, show.position(row) if source.windowed else None)
    report = tally.report(model) | {"plot": pictures.draw(model)}
    if target.as_json:
        show.as_json(report | ({"results": rows} if target.out is None else {"out": target.out}))
    else:
        show.predicted(report, failures, sys.stderr if target.out == STDOUT else sys.stdout)
    return 1 if tally.failed else 0


@dataclass
class _Pictures:
    """What the picture will show: of the first recordings only, so that any number of them can pass."""

    out: Path | None
    windowed: bool
    top: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    current: Track | None = None  # of the recording at hand, when it will be shown

    def take(self, result: Result) -> None:
        """Keep what is needed of a result."""
        one = result.heard
        if self.out is None:
            return
        if not self.windowed:
            if one.error is None and len(self.rows) < MAX_CLIPS:
                self.rows.append(result.row(self.top))
            return
        if one.first:
            shown = one.error is None and len(self.tracks) < MOST_TRACKS
            self.current = Track(Path(one.file).name) if shown else None
            self.tracks += [self.current] if self.current else []
        if self.current is not None and one.error is None:
            self.current.add(one.start, one.end, one.y, result.probabilities)

    def draw(self, model: Model) -> str | None:
        """Draw, and return the picture's name; None without one."""
        if self.out is None:
            return None
        if self.windowed:
            drawn = plot_timelines(self.tracks, model.labels, self.out) if self.tracks else None
        else:
            drawn = draw_results(self.rows, model.recipe.features, model.recipe.n_samples, self.out)
        return None if drawn is None else str(drawn)
