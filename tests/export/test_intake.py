"""What files take besides mono float32 clips at the features' rate: another rate, PCM, channels, and all together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soxr
from onnxscript import ir

import cumel
from cumel import CumelError, Interface, export_onnx
from cumel.esc50.audio import fit_length, resampled_length
from cumel.export.check.frontend import signals
from cumel.export.graph.frontend import standalone
from cumel.export.graph.resampling import filter_bank, resample

from support.exported import lively_run
from support.recordings import TINY, tiny_recipe, tone, write

N = 8000
RATES = (44100, 48000, 22050, 11025, 16000, 4000, 12000)
# Of the loudest sample: the graph against its twin in float64. 1.3e-6: 44100 to 16000 Hz, a chirp.
TWIN = 1e-5
# dB, of the energy of a tone that both rates hold, by which the twin may be off; -124: 16 to 44.1 kHz.
TONE_DB = -110
# dB, of a tone of full scale above half the lower rate, which may be left; -124.6: 22.05 to 16 kHz.
STOP_DB = -105
# Of an amplitude: soxr's own HQ and VHQ differ by as much for rates such as 44.1 and 16 kHz.
SOXR = 2e-3


def session_of(interface: Interface, *more: str) -> Any:
    model = standalone(TINY, N, "logmel", interface)
    for node in model.graph:
        for value in node.outputs:
            if value.name in more:
                value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", N])
                model.graph.outputs.append(value)
    serialized = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(serialized, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("rate", RATES)
def test_a_graph_resamples_as_its_twin_in_float64(rate: int) -> None:
    session = session_of(Interface(rate=rate), "clip")
    for n in (rate, rate // 2, 2 * rate + 7, 1):
        for kind, y in signals(n, rate).items():
            got = session.run(["clip"], {"waveform": y[None]})[0][0]
            wanted = fit_length(resample(y, rate, TINY.sr).astype(np.float32), N)
            assert np.abs(got - wanted).max() <= TWIN * np.abs(wanted).max(), (kind, n)


@pytest.mark.parametrize(
    ("rate", "sr"), [(44100, 16000), (48000, 16000), (8000, 16000), (16000, 44100), (22050, 16000)]
)
def test_a_tone_that_both_rates_hold_stays_as_it_is(rate: int, sr: int) -> None:
    seconds, low = 0.8, min(rate, sr) / 2
    for share in (0.05, 0.5, 0.88):
        before, after = (
            np.sin(2 * np.pi * share * low * t) * np.exp(-(((t - 0.4) / 0.06) ** 2))
            for t in (np.arange(round(seconds * hz)) / hz for hz in (rate, sr))
        )
        got = resample(before, rate, sr)
        assert len(got) == len(after)
        off = 10 * np.log10(np.mean((got - after) ** 2) / np.mean(after**2))
        assert off < TONE_DB, share
    if rate > sr:
        t = np.arange(rate) / rate
        gone = resample(np.sin(2 * np.pi * 1.02 * low * t) * np.hanning(rate), rate, sr)
        assert 20 * np.log10(np.abs(gone).max()) < STOP_DB


@pytest.mark.parametrize("rate", [44100, 48000, 8000, 11025])
def test_it_is_aligned_with_soxr_and_as_long(rate: int) -> None:
    for n in (rate, rate + 1, 1000, 7):
        y = (0.3 * np.sin(2 * np.pi * 440 * np.arange(n) / rate)).astype(np.float32)
        wanted, got = soxr.resample(y, rate, 16000), resample(y, rate, 16000)
        assert len(got) == resampled_length(n, rate, 16000)
        assert abs(len(got) - len(wanted)) <= 1
        middle = slice(len(got) // 4, 3 * len(got) // 4)
        if n >= rate:
            assert np.abs(got[middle] - wanted[middle]).max() < SOXR * 0.3


def test_rates_that_no_filter_fits_are_refused() -> None:
    with pytest.raises(CumelError, match=r"rate=44101: no filter of a practical size leads to 44100 Hz"):
        filter_bank(44101, 44100)


@pytest.mark.parametrize("fit", ["mirror", "zeros"])
@pytest.mark.parametrize(
    "form",
    [
        {"dtype": "int16"},
        {"channels": True},
        {"rate": 16000, "dtype": "int16"},
        {"rate": 44100, "channels": True},
        {"rate": 11025, "dtype": "int16", "channels": True},
        {"rate": 8000},
    ],
)
def test_forms_of_samples(form: dict[str, Any], fit: str) -> None:
    interface = Interface(fit=fit, **form)
    session, rate = session_of(interface, "clip"), interface.rate or TINY.sr
    rng = np.random.default_rng(4)
    for n in (1, 300, rate, rate + 5):
        raw = rng.normal(0, 0.1, (2, 3, n) if interface.channels else (2, n))
        raw = np.round(raw * 32768).astype(np.int16) if interface.dtype == "int16" else raw.astype(np.float32)
        mono = raw.astype(np.float64) / (32768 if interface.dtype == "int16" else 1)
        mono = mono.mean(axis=1) if interface.channels else mono
        for y, got in zip(mono, session.run(["clip"], {"waveform": raw})[0], strict=True):
            own = y if rate == TINY.sr else resample(y, rate, TINY.sr)
            filled = np.pad(own, (0, max(0, N - len(own))))[:N]
            wanted = filled if fit == "zeros" else fit_length(own.astype(np.float32), N)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=TWIN * np.abs(wanted).max())


@pytest.mark.parametrize("form", [{"rate": 16000}, {"rate": 11025, "channels": True}, {"dtype": "int16", "rate": 4000}])
def test_what_lies_behind_a_clip_is_not_heard(form: dict[str, Any]) -> None:
    interface = Interface(lengths=True, **form)
    session, lengths = session_of(interface, "clip"), [1, 2, 700, interface.rate, 2 * interface.rate + 3, 0]
    rng = np.random.default_rng(5)
    shape = (len(lengths), 2, max(lengths)) if interface.channels else (len(lengths), max(lengths))
    whole = rng.normal(0, 0.1, shape)
    is_pcm = interface.dtype == "int16"
    whole = np.round(whole * 32768).astype(np.int16) if is_pcm else whole.astype(np.float32)
    batch = whole.copy()
    for row, n in zip(batch, lengths, strict=True):
        row[..., n:] = 32767 if is_pcm else np.nan
    together = session.run(["clip"], {"waveform": batch, "lengths": np.array(lengths)})[0]
    for i, n in enumerate(lengths):
        alone = session.run(["clip"], {"waveform": whole[i : i + 1, ..., :n], "lengths": np.array([n])})[0][0]
        np.testing.assert_allclose(together[i], alone, rtol=0, atol=TWIN * np.abs(alone).max())
    assert not together[-1].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lively_run(tmp_path_factory.mktemp("intake") / "run", tiny_recipe())


def test_a_file_of_another_rate_answers_as_one_after_soxr(run: Path, tmp_path: Path) -> None:
    interface = Interface(rate=44100, dtype="int16", channels=True)
    report = export_onnx(run, tmp_path / "cd.onnx", interface)
    export_onnx(run, tmp_path / "plain.onnx")
    assert report["input"] == "waveform [batch, channels, samples] int16"
    told = json.loads((tmp_path / "cd.labels.json").read_text(encoding="utf-8"))
    assert (told["sample_rate"], told["samples"], told["inputs"][0]["dtype"]) == (44100, 44100, "int16")
    y = np.stack([tone(1.0, 44100, hz) for hz in (300, 1200, 2500)]).astype(np.float32)
    pcm = np.round(y * 32767).astype(np.int16)
    got = cumel.Session(tmp_path / "cd.onnx", "cpu").run(np.stack([pcm, pcm], axis=1))
    after = np.stack([soxr.resample(row / np.float32(32768), 44100, TINY.sr) for row in pcm])
    wanted = cumel.Session(tmp_path / "plain.onnx", "cpu").run(after)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=5e-3)
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()


@pytest.mark.parametrize("route", ["graph", "kernels"])
def test_recordings_are_classified_with_it(run: Path, tmp_path: Path, route: str) -> None:
    path = write(tmp_path / "tone.wav", tone(1.0, 22050, 700), 22050)
    rows = []
    for name, interface in (("cd", Interface(rate=44100, dtype="int16", channels=True)), ("plain", Interface())):
        export_onnx(run, tmp_path / f"{name}.onnx", interface)
        rows.append(cumel.load(tmp_path / f"{name}.onnx", provider="cpu", route=route).predict(path)[0]["top"])
    assert rows[0] == rows[1]


def test_a_fixed_length_is_at_the_files_own_rate(run: Path, tmp_path: Path) -> None:
    export_onnx(run, tmp_path / "fixed.onnx", Interface(rate=44100, samples=44100))
    session = cumel.Session(tmp_path / "fixed.onnx", "cpu")
    assert session.input.shape == ["batch", 44100]
    assert "Shape" not in {node.op for node in session.nodes if node.name.startswith("frontend/Slice")}
    y = tone(1.0, 44100, 900).astype(np.float32)[None]
    export_onnx(run, tmp_path / "free.onnx", Interface(rate=44100))
    np.testing.assert_allclose(session.run(y), cumel.Session(tmp_path / "free.onnx", "cpu").run(y), rtol=0, atol=1e-6)
    assert cumel.load(tmp_path / "fixed.onnx", route="graph").session.input.shape[1:] == [N]
