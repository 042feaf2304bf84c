"""The mel spectrogram of frames, by the matrix products of `dft`."""

from __future__ import annotations

from onnxscript import ir

from ...kernels import FeatureConfig
from ...kernels.dft import Dense, transform
from .tape import Size, Tape, ints, number


def mel_of(tape: Tape, frames: ir.Value, cfg: FeatureConfig, n_frames: Size) -> ir.Value:
    """Return the mel spectrogram [batch, n_frames, n_mels] of frames [batch, n_frames, frame_length]."""
    dft = transform(cfg)
    if isinstance(dft, Dense):
        stft = tape("MatMul", frames, dft.matrix)  # [batch, n_frames, 2 * n_bins]
    else:
        rows, n2 = dft.window.shape
        n_k1 = len(dft.second)
        if rows * n2 > cfg.frame_length:
            frames = tape("Pad", frames, ints(0, 0, 0, 0, 0, rows * n2 - cfg.frame_length))
        windowed = tape("Mul", tape("Reshape", frames, ints(-1, rows, n2)), dft.window)
        first = tape("Reshape", tape("MatMul", dft.first, windowed), ints(-1, n_k1, 2 * n2))
        # ONNX Runtime computes the transposed product in place: k1 becomes the batch of the second step.
        stft = tape("MatMul", tape("Transpose", first, perm=[1, 0, 2]), dft.second)
    squares, n_bins = tape("Mul", stft, stft), (dft.matrix if isinstance(dft, Dense) else dft.second).shape[-1] // 2
    strength = tape("Add", tape.slice(squares, 0, n_bins, 2), tape.slice(squares, n_bins, 2 * n_bins, 2))
    if cfg.bin_offset:
        strength = tape("Add", strength, number(cfg.bin_offset))
    if cfg.power == 1:
        strength = tape("Sqrt", strength)
    if not isinstance(dft, Dense):
        strength = tape("Transpose", strength, perm=[1, 0, 2])
        strength = tape("Reshape", strength, tape.shape(-1, n_frames, len(dft.mel)))
    return tape("MatMul", strength, dft.mel)
