"""WAV with samples in containers of more bytes than they need: in the high bits, in the low ones, or refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from cumel.esc50.audio import load
from cumel.kernels import InputError

from support.recordings import streamed

SR, N = 8000, 999
GUID = bytes.fromhex("000000001000800000aa00389b71")
WIDE = [(24, 4), (20, 4), (16, 4), (12, 4), (16, 3), (20, 3), (12, 2), (18, 3)]  # bits, bytes
UNKNOWN = "in no way that is known; write it again with 16, 24 or 32 bits a sample"


def wav(y: np.ndarray, bits: int, n_bytes: int, *, order: str = "<", extensible: bool = False) -> bytes:
    """Write integers [n, n_channels], each in `n_bytes`."""
    n_channels = y.shape[1]
    raw = np.frombuffer(y.astype("<i8").tobytes(), np.uint8).reshape(-1, 8)[:, :n_bytes]
    data = (raw if order == "<" else raw[:, ::-1]).tobytes()
    block = n_channels * n_bytes
    rate = SR * block
    fmt = struct.pack(order + "HHIIHH", 1, n_channels, SR, rate, block, bits)
    if extensible:
        fmt = struct.pack(order + "HHIIHHHHIH", 0xFFFE, n_channels, SR, rate, block, 8 * n_bytes, 22, bits, 0, 1) + GUID
    chunks = (
        b"WAVEfmt " + struct.pack(order + "I", len(fmt)) + fmt + b"data" + struct.pack(order + "I", len(data)) + data
    )
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(order + "I", len(chunks)) + chunks


def drawn(bits: int, n_channels: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(-(1 << bits - 1), 1 << bits - 1, size=(N, n_channels))


def check(path: Path, y: np.ndarray, bits: int) -> None:
    expected = np.mean((y / (1 << bits - 1)).astype(np.float32), axis=1)
    found, sr = load(path)
    assert sr == SR
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(streamed(path), expected)


@pytest.mark.pairwise
@pytest.mark.parametrize(("order", "extensible"), [("<", False), ("<", True), (">", False), (">", True)])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("bits", "n_bytes"), WIDE)
def test_samples_in_the_high_bits(
    tmp_path: Path, bits: int, n_bytes: int, n_channels: int, order: str, extensible: bool
) -> None:
    y = drawn(bits, n_channels)
    shifted = y << 8 * n_bytes - bits
    (tmp_path / "a.wav").write_bytes(wav(shifted, bits, n_bytes, order=order, extensible=extensible))
    check(tmp_path / "a.wav", y, bits)


@pytest.mark.pairwise
@pytest.mark.parametrize("above", ["sign", "zeros"])
@pytest.mark.parametrize(("order", "extensible"), [("<", False), ("<", True), (">", False), (">", True)])
@pytest.mark.parametrize(("bits", "n_bytes"), WIDE)
def test_samples_in_the_low_bits(
    tmp_path: Path, bits: int, n_bytes: int, order: str, extensible: bool, above: str
) -> None:
    """As ALSA's S24_LE; read where they fill whole bytes."""
    y = drawn(bits, 2)
    written = y if above == "sign" else y & (1 << bits) - 1
    id3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    (tmp_path / "a.wav").write_bytes(id3 + wav(written, bits, n_bytes, order=order, extensible=extensible))
    if bits % 8 == 0:
        check(tmp_path / "a.wav", y, bits)
    else:
        with pytest.raises(InputError, match=f"a.wav: {bits}-bit samples in {n_bytes} bytes each, {UNKNOWN}"):
            load(tmp_path / "a.wav")


@pytest.mark.parametrize(("bits", "n_bytes"), [(24, 4), (16, 4), (8, 2), (8, 4)])
def test_samples_that_fit_neither_are_refused(tmp_path: Path, bits: int, n_bytes: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(drawn(8 * n_bytes, 1), bits, n_bytes))
    with pytest.raises(InputError, match=f"a.wav: {bits}-bit samples in {n_bytes} bytes each, {UNKNOWN}"):
        load(tmp_path / "a.wav")


def test_a_wrong_block_beside_a_right_rate_of_bytes(tmp_path: Path) -> None:
    """Some writers count the channels twice, or not at all; the samples are packed."""
    y = drawn(16, 1)
    raw = wav(y, 16, 2)
    (tmp_path / "a.wav").write_bytes(raw[:32] + b"\4\0" + raw[34:])
    check(tmp_path / "a.wav", y, 16)


@pytest.mark.parametrize(("bits", "n_bytes"), [(24, 4), (12, 2)])
def test_of_unknown_length_and_cut(tmp_path: Path, bits: int, n_bytes: int) -> None:
    y = drawn(bits, 1)
    raw = wav(y << 8 * n_bytes - bits, bits, n_bytes)
    (tmp_path / "a.wav").write_bytes(raw[:40] + b"\xff\xff\xff\xff" + raw[44:])
    check(tmp_path / "a.wav", y, bits)
    (tmp_path / "a.wav").write_bytes(raw[:-100])
    with pytest.raises(InputError, match="truncated: the header promises"):
        load(tmp_path / "a.wav")


def test_silence_is_silence(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(np.zeros((N, 2), np.int64), 24, 4))
    check(tmp_path / "a.wav", np.zeros((N, 2), np.int64), 24)
