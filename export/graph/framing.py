"""Clips as overlapping frames: pre-emphasis, padding, frames without their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from onnxscript import ir

from ...kernels import FeatureConfig
from ...kernels.filterbank import window
from .tape import Size, Tape, ints, number

MOST_SLICES = 32  # slices per frame; beyond that a Gather is faster


@dataclass(frozen=True)
class Clips:
    """Waveforms, and how long they are."""

    samples: ir.Value  # [batch, length]
    length: Size
    lengths: ir.Value | None  # int64 [batch, 1], the samples of each clip; None: `length`


class _Sources(NamedTuple):
    """Padded clips [batch, total] that frames are made of."""

    frames: ir.Value
    first: ir.Value | None  # what the first sample of each frame is taken from, times (1 - a); None: like the others
    mean: ir.Value | None  # what the mean is taken of; None: it is left in


def frames(tape: Tape, clips: Clips, cfg: FeatureConfig, n_frames: Size) -> ir.Value:
    """Cut clips into `n_frames` overlapping frames [batch, n_frames, frame_length]."""
    if cfg.preemphasis and cfg.preemphasis_of != "frame":
        clips = _emphasised_clips(tape, clips, cfg)
    n_slices = -(-cfg.frame_length // cfg.hop_length)  # slices per frame, of one hop each; the last may be shorter
    raw = _padded(tape, clips, cfg, tape.size("Mul", tape.size("Add", n_frames, n_slices), cfg.hop_length))
    left_of_mean, sources = 1.0, _Sources(raw, None, raw if cfg.remove_dc else None)
    if cfg.preemphasis and cfg.preemphasis_of == "frame":
        left_of_mean = 1 - cfg.preemphasis
        first = raw if window(cfg)[0] != 0 else None  # A frame has no sample before: y[0] = (1 - a) x[0].
        sources = sources._replace(frames=emphasised(tape, raw, cfg.preemphasis), first=first)
    cut, sums = (_gathered if n_slices > MOST_SLICES else _sliced)(tape, sources, cfg, n_frames, n_slices)
    if sums is None:
        return cut
    return tape("Sub", cut, tape("Mul", sums, number(left_of_mean / cfg.frame_length)))


def _sliced(
    tape: Tape, sources: _Sources, cfg: FeatureConfig, n_frames: Size, n_slices: int
) -> tuple[ir.Value, ir.Value | None]:
    """Put frames together of slices of one hop; return them, and the sum of each one's samples if that is wanted."""
    shape = tape.shape(0, tape.size("Add", n_frames, n_slices), cfg.hop_length)
    blocks = {source: tape("Reshape", source, shape) for source in dict.fromkeys(sources) if source is not None}

    def slices(x: ir.Value, n: int) -> list[ir.Value]:
        return [tape.slice(x, i, i - n_slices, 1) for i in range(n)]

    whole, rest = divmod(cfg.frame_length, cfg.hop_length)
    parts = slices(blocks[sources.frames], n_slices)
    if rest:
        parts[-1] = tape.slice(parts[-1], 0, rest, 2)
    if sources.first is not None:
        alone = tape.slice(slices(blocks[sources.first], 1)[0], 0, 1, 2)
        parts[:1] = [tape("Mul", alone, number(1 - cfg.preemphasis)), tape.slice(parts[0], 1, cfg.hop_length, 2)]
    cut = tape("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]
    if sources.mean is None:
        return cut, None
    sums = slices(tape.sum(blocks[sources.mean], [2]), whole) if whole else []
    if rest:
        beginnings = tape.sum(tape.slice(blocks[sources.mean], 0, rest, 2), [2])
        sums.append(tape.slice(beginnings, whole, whole - n_slices, 1))
    return cut, tape.sum(tape("Concat", *sums, axis=2), [2])


def _gathered(
    tape: Tape,
    sources: _Sources,
    cfg: FeatureConfig,
    n_frames: Size,
    n_slices: int,  # noqa: ARG001
) -> tuple[ir.Value, ir.Value | None]:
    """Do the same as `_sliced` by index, for a hop so short that slices would be many."""
    counted = (
        np.arange(n_frames)[:, None]
        if isinstance(n_frames, int)
        else tape("Reshape", count(tape, n_frames), ints(-1, 1))
    )
    places = tape("Add", tape("Mul", counted, ints(cfg.hop_length)), np.arange(cfg.frame_length)[None])
    cut = tape("Gather", sources.frames, places, axis=1)
    if sources.first is not None:
        alone = tape("Gather", sources.first, tape.slice(places, 0, 1, 1), axis=1)
        rest = tape.slice(cut, 1, cfg.frame_length, 2)
        cut = tape("Concat", tape("Mul", alone, number(1 - cfg.preemphasis)), rest, axis=2)
    return cut, None if sources.mean is None else tape.sum(tape("Gather", sources.mean, places, axis=1), [2])


def emphasised(tape: Tape, x: ir.Value, a: float) -> ir.Value:
    """Return x[n] - a x[n - 1] of the last axis of [batch, n], with zero before the first sample."""
    before = tape("Pad", x, ints(0, 1, 0, -1))
    return tape("Sub", x, tape("Mul", before, number(a)))


def _emphasised_clips(tape: Tape, clips: Clips, cfg: FeatureConfig) -> Clips:
    samples = emphasised(tape, clips.samples, cfg.preemphasis)
    if cfg.preemphasis_of == "clip":
        return Clips(samples, clips.length, clips.lengths)
    length, lengths = clips.length, clips.lengths
    length = length - 1 if isinstance(length, int) else tape("Sub", length, ints(1))
    lengths = None if lengths is None else tape("Sub", lengths, ints(1))
    return Clips(tape("Slice", samples, ints(1), ints(np.iinfo(np.int64).max), ints(1)), length, lengths)


def count(tape: Tape, n: Size) -> ir.Value:
    """Return 0 .. n - 1 [n], int64."""
    return tape("Range", np.array(0), np.array(n) if isinstance(n, int) else tape("Reshape", n, ints()), np.array(1))


def _padded(tape: Tape, clips: Clips, cfg: FeatureConfig, total: Size) -> ir.Value:
    """Pad each clip at both ends, and cut it or fill it up to `total` samples: [batch, total]."""
    left, right = cfg.edges[0], max(cfg.edges[1], 0)
    if clips.lengths is not None:
        return _padded_ragged(tape, clips, cfg, total)
    assert isinstance(clips.length, int)
    assert isinstance(total, int)
    samples, n_samples = clips.samples, clips.length
    if cfg.pad_mode != "constant" and (left or right):
        mirrored = np.pad(np.arange(n_samples), (left, right), mode=cfg.pad_mode)
        before, after = mirrored[:left], mirrored[left + n_samples :]
        parts = [tape("Gather", samples, ends, axis=1) for ends in (before, after)]
        samples = tape("Concat", parts[0], samples, parts[1], axis=1)
        left, n_samples = 0, len(mirrored)
    right = total - left - n_samples
    if right < 0:
        samples, n_samples = tape.slice(samples, 0, right, 1), n_samples + right
    # Not a Pad: one runtime drops a Slice behind it, without a word.
    if left <= 0 and right <= 0:
        return samples
    before = [_silenced(tape, samples, n_samples, left)] if left > 0 else []
    behind = [_silenced(tape, samples, n_samples, right)] if right > 0 else []
    return tape("Concat", *before, samples, *behind, axis=1)


def _silenced(tape: Tape, samples: ir.Value, n_samples: int, n: int) -> ir.Value:
    """Return zeros [batch, n], which are the clips' own samples times 0: computed sizes would be so on the CPU."""
    zero = tape("Mul", tape.slice(samples, 0, min(n, n_samples), 1), number(0.0))
    if n <= n_samples:
        return zero
    return tape("Expand", tape.slice(zero, 0, 1, 1), ints(1, n))


def zeros(tape: Tape, clips: ir.Value, n: int) -> ir.Value:
    """Return zeros [batch, n]."""
    return tape("Expand", np.zeros((1, 1), np.float32), tape.shape(tape("Shape", clips, start=0, end=1), n))


def _padded_ragged(tape: Tape, clips: Clips, cfg: FeatureConfig, total: Size) -> ir.Value:
    """Pad each clip of a ragged batch where it ends itself.

    Only the padding is written by index: no frame of a clip reaches samples behind it.
    """
    left, right = cfg.edges[0], max(cfg.edges[1], 0)
    assert isinstance(clips.length, ir.Value)
    assert isinstance(clips.lengths, ir.Value)
    assert isinstance(total, ir.Value)
    behind = tape("Sub", total, tape("Add", clips.length, ints(left)))
    body = tape("Pad", clips.samples, tape.shape(0, left, 0, behind))
    if cfg.pad_mode == "constant":
        if not right:
            return body
        places = tape("Add", clips.lengths, (left + np.arange(right))[None])
        zeros = tape("Expand", np.zeros((1, 1), np.float32), tape("Shape", places))
        return tape("ScatterElements", body, places, zeros, axis=1)
    if not left + right:
        return body
    length = tape("Where", tape("Less", clips.lengths, ints(1)), ints(1), clips.lengths)
    after = np.r_[np.zeros(left, np.int64), np.ones(right, np.int64)][None]
    steps = np.r_[np.arange(left, 0, -1), np.arange(1, right + 1)][None]  # from the edge sample to the place
    if cfg.pad_mode == "reflect":  # a period of 2 n - 2 samples, which are 0 .. n - 1 .. 1
        highest = tape("Mul", tape("Sub", length, ints(1)), ints(2))
        period = tape("Where", tape("Less", highest, ints(1)), ints(1), highest)
    else:  # a period of 2 n samples, which are 0 .. n - 1, n - 1 .. 0
        steps = steps - 1
        period = tape("Mul", length, ints(2))
        highest = tape("Sub", period, ints(1))
    turned = tape("Sub", steps, tape("Mul", tape("Div", steps, period), period))
    swing = tape("Abs", tape("Sub", highest, tape("Mul", turned, ints(2))))
    inwards = tape("Div", tape("Sub", highest, swing), ints(2))  # samples between the edge and the mirrored one
    ends = tape("Mul", tape("Sub", length, ints(1)), after)
    sources = tape("Add", tape("Add", ends, tape("Mul", inwards, 1 - 2 * after)), ints(left))
    behind_it = tape("Mul", clips.lengths, after)
    places = tape("Add", behind_it, np.r_[np.arange(left), left + np.arange(right)][None])
    return tape("ScatterElements", body, places, tape("GatherElements", body, sources, axis=1), axis=1)
