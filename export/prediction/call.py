"""Where predictions come from and where they go: which options of `cumel predict` belong together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...esc50.inputs import STDIN, Listing, resolve
from ...kernels import CumelError
from ..graph import Metadata
from .aggregate import THRESHOLD, check_aggregate
from .raw_stream import HEADERS, RawFormat, segments_of_raw
from .rows import STDOUT, format_of
from .segments import Segment, segments_of


@dataclass(frozen=True, kw_only=True)
class Source:
    """Recordings, or raw samples on stdin."""

    inputs: list[str]
    layout: RawFormat | None  # None for recordings
    hop_seconds: float | None  # None for the beginning of each recording alone, unless `whole`
    whole: bool = False  # all of each recording, in windows that follow each other where no hop is given

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
        whole: bool = False,
    ) -> Source:
        """Make a source of options; a `CumelError` for options that contradict each other, or a stdin without data."""
        if not raw:
            for name, value in (("channels", channels), ("dtype", dtype)):
                if value is not None:
                    raise CumelError(f"--{name} {value}: only --raw samples have one; recordings tell theirs")
            if STDIN in inputs:
                _check_list()
            return cls(inputs=inputs, layout=None, hop_seconds=hop_seconds, whole=whole)
        if inputs != [STDIN]:
            raise CumelError(f"--raw reads stdin alone: give - as the only input, not {' '.join(inputs)}")
        if sr is None:
            raise CumelError("--raw needs --sr, the rate of the samples in Hz, as in --raw --sr 44100 -")
        layout = RawFormat(sr=sr, channels=1 if channels is None else channels, dtype=dtype or "int16")
        if sys.stdin is None or sys.stdin.closed:
            raise CumelError("stdin is closed; pipe raw samples into it")
        if sys.stdin.isatty():
            raise CumelError(
                "stdin is a terminal; pipe raw samples into it, as `arecord -t raw -f S16_LE -r 44100` does"
            )
        return cls(inputs=inputs, layout=layout, hop_seconds=hop_seconds)

    @property
    def windowed(self) -> bool:
        """Whether recordings are classified whole, window by window."""
        return self.layout is not None or self.hop_seconds is not None or self.whole

    def recordings(self) -> Listing | None:
        """List the recordings; None for raw samples."""
        return None if self.layout is not None else resolve(self.inputs)

    def segments(self, recordings: Listing | None, metadata: Metadata) -> Iterator[Segment]:
        """Yield the segments of the listed recordings, or of the raw samples on stdin."""
        if self.layout is not None:
            return segments_of_raw(sys.stdin.fileno(), self.layout, metadata, self.hop_seconds)
        hop_seconds = metadata.seconds if self.whole and self.hop_seconds is None else self.hop_seconds
        return segments_of(recordings or (), metadata, hop_seconds)


def _check_list() -> None:
    """Raise a `CumelError` for a recording on stdin, where a list of files belongs."""
    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    if peek is not None and not sys.stdin.isatty() and peek(16)[:16].startswith(HEADERS):
        raise CumelError("stdin: holds a recording, not a list of files; save it and name it, or pipe --raw samples")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Files and streams that predictions are written to."""

    out: str | None
    format: str
    plot: Path | None
    events: Path | None
    aggregate: str | None
    threshold: float
    as_json: bool

    @classmethod
    def of(
        cls,
        out: str | None,
        named: str | None,
        plot: Path | None,
        *,
        as_json: bool,
        events: Path | None = None,
        aggregate: str | None = None,
        threshold: float | None = None,
    ) -> Target:
        """Make a target of options; a `CumelError` for options that contradict each other."""
        kind = format_of(out, named)
        out = STDOUT if out is None and named is not None else out
        if as_json and out == STDOUT:
            raise CumelError("--json prints one object on stdout, so rows cannot go there: give --out a file")
        if plot is not None:
            from ...esc50.reports import check_picture  # loads matplotlib

            check_picture(plot)
        if threshold is not None and events is None:
            raise CumelError(f"--event-threshold {threshold:g}: only --events has one")
        threshold = THRESHOLD if threshold is None else threshold
        check_aggregate(aggregate, threshold)
        return cls(
            out=out, format=kind, plot=plot, events=events, aggregate=aggregate, threshold=threshold, as_json=as_json
        )

    @property
    def on_screen(self) -> bool:
        """Whether predictions are printed for people."""
        return self.out is None and not self.as_json
