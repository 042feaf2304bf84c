"""Clips as overlapping frames: pre-emphasis, padding, frames without their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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


def narrowed(cfg: FeatureConfig) -> FeatureConfig:
    """Return a config of the same features whose frames leave out the zeros around a short window.

    Where a frame begins changes its phase alone. A mean or a pre-emphasis of frames is of all their samples.
    """
    length = cfg.win_length or cfg.n_fft
    before = (cfg.n_fft - length) // 2
    left, right = cfg.edges
    of_frame = cfg.remove_dc or (cfg.preemphasis > 0 and cfg.preemphasis_of == "frame")
    if cfg.align == "left" or length == cfg.n_fft or of_frame or left < before:
        return cfg
    padding = (left - before, right - (cfg.n_fft - length - before))
    return cfg.replace(align="left", center=True, padding=padding)


def frames(tape: Tape, clips: Clips, cfg: FeatureConfig, n_frames: Size) -> ir.Value:
    """Cut clips into `n_frames` overlapping frames [batch, n_frames, frame_length]."""
    if cfg.preemphasis and cfg.preemphasis_of != "frame":
        clips = _emphasised_clips(tape, clips, cfg)
    n_slices = -(-cfg.frame_length // cfg.hop_length)  # slices per frame, of one hop each; the last may be shorter
    n_blocks = tape.size("Add", n_frames, n_slices)
    raw = _padded(tape, clips, cfg, tape.size("Mul", n_blocks, cfg.hop_length))
    of_frame = cfg.preemphasis > 0 and cfg.preemphasis_of == "frame"
    padded = emphasised(tape, raw, cfg.preemphasis) if of_frame else raw
    first = of_frame and window(cfg)[0] != 0
    if n_slices > MOST_SLICES:
        cut = _gathered(tape, padded, cfg, n_frames, cfg.frame_length)
        if first:
            rest = tape.slice(cut, 1, cfg.frame_length, 2)
            alone = _gathered(tape, raw, cfg, n_frames, 1)
            cut = tape("Concat", tape("Mul", alone, number(1 - cfg.preemphasis)), rest, axis=2)
        mean = cfg.remove_dc and tape.sum(_gathered(tape, raw, cfg, n_frames, cfg.frame_length), [2])
    else:
        shape = tape.shape(0, n_blocks, cfg.hop_length)
        raw_blocks = tape("Reshape", raw, shape) if not of_frame or first or cfg.remove_dc else None
        blocks = tape("Reshape", padded, shape) if of_frame else raw_blocks
        assert blocks is not None
        parts = [_shifted(tape, blocks, i, n_slices) for i in range(n_slices)]
        rest = cfg.frame_length - (n_slices - 1) * cfg.hop_length
        if rest < cfg.hop_length:
            parts[-1] = tape.slice(parts[-1], 0, rest, 2)
        if first and raw_blocks is not None:  # where there is no sample before, y[0] = (1 - a) x[0]
            alone = tape.slice(_shifted(tape, raw_blocks, 0, n_slices), 0, 1, 2)
            parts[:1] = [tape("Mul", alone, number(1 - cfg.preemphasis)), tape.slice(parts[0], 1, cfg.hop_length, 2)]
        cut = tape("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]
        mean = cfg.remove_dc and raw_blocks is not None and _sums(tape, raw_blocks, cfg, n_slices)
    if mean:  # A constant times (1 - a) is what pre-emphasis leaves of it.
        left_of_it = (1 - cfg.preemphasis if of_frame else 1.0) / cfg.frame_length
        return tape("Sub", cut, tape("Mul", mean, number(left_of_it)))
    return cut


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


def _shifted(tape: Tape, blocks: ir.Value, i: int, n_slices: int) -> ir.Value:
    """Return the i-th hop of each frame, of blocks [batch, n_frames + n_slices, hop]."""
    return tape.slice(blocks, i, i - n_slices, 1)


def _sums(tape: Tape, blocks: ir.Value, cfg: FeatureConfig, n_slices: int) -> ir.Value:
    """Return the sum of each frame's samples [batch, n_frames, 1], of the sums of its hops."""
    whole, rest = divmod(cfg.frame_length, cfg.hop_length)
    sums = tape.sum(blocks, [2]) if whole else None
    parts = [_shifted(tape, sums, i, n_slices) for i in range(whole)] if sums is not None else []
    if rest:
        parts.append(_shifted(tape, tape.sum(tape.slice(blocks, 0, rest, 2), [2]), whole, n_slices))
    return tape.sum(tape("Concat", *parts, axis=2), [2]) if len(parts) > 1 else parts[0]


def _gathered(tape: Tape, padded: ir.Value, cfg: FeatureConfig, n_frames: Size, width: int) -> ir.Value:
    """Return the first `width` samples of each frame, for a hop so short that slices would be many."""
    counted: NDArray[np.int64] | ir.Value
    if isinstance(n_frames, int):
        counted = np.arange(n_frames)[:, None]
    else:
        counted = tape("Reshape", count(tape, n_frames), ints(-1, 1))
    starts = tape("Mul", counted, ints(cfg.hop_length))
    return tape("Gather", padded, tape("Add", starts, np.arange(width)[None]), axis=1)


def count(tape: Tape, n: ir.Value) -> ir.Value:
    """Return 0 .. n - 1 [n], int64."""
    return tape("Range", np.array(0), tape("Reshape", n, ints()), np.array(1))


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
    return tape("Pad", samples, ints(0, left, 0, total - left - n_samples))


def _padded_ragged(tape: Tape, clips: Clips, cfg: FeatureConfig, total: Size) -> ir.Value:
    """Pad each clip of a ragged batch where it ends itself.

    Only the padding is written by index: no frame of a clip reaches samples behind it.
    """
    left, right = cfg.edges[0], max(cfg.edges[1], 0)
    assert isinstance(clips.length, ir.Value)
    assert isinstance(clips.lengths, ir.Value)
    behind = tape("Sub", total if isinstance(total, ir.Value) else ints(total), tape.size("Add", clips.length, left))
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
