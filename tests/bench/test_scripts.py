"""What the benchmarks share: times and their ratios, memory, rows, exponents, and that a wrong result is not timed."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cumel.kernels import PRESETS, log_mel
from cumel.kernels.cuda import Clips

import calls
import features
import peers
import run_all
import scaling
import timing
from support.emulation import Emulated
from support.signals import SMALL

WHISPER = timing.FRONT_ENDS["whisper"]
FAR = 1e-2  # dB of noise from ours; worst 3e-4: torchaudio


def test_ratios_are_of_rounds_and_percentiles_of_calls() -> None:
    slow = timing.Times([np.array([2.0, 2.2]), np.array([6.0]), np.array([100.0])])
    fast = timing.Times([np.array([1.0]), np.array([2.0, 2.0])])
    assert slow.ratio(fast) == pytest.approx((2.1 + 3.0) / 2)  # the third round has no partner
    assert fast.columns("ms_per_clip", 1e3 / 2) == {"ms_per_clip": 1000, "p20_ms": 700, "p80_ms": 1000, "repeats": 3}


def test_every_call_is_timed_enough() -> None:
    times = timing.compare({"fast": lambda: None, "slow": lambda: torch.randn(300_000).sin_()}, seconds=0.01, rounds=4)
    for name, one in times.items():
        assert one.enough, name
        assert len(one.rounds) >= 4
        assert (one.calls > 0).all()
    assert times["slow"].ratio(times["fast"]) > 10


def test_memory_beyond_what_was_there() -> None:
    before = torch.ones(2**24)
    peak, kept = timing.peak_mb(lambda: (before + 1).sum())
    assert 50 < peak < 100  # 64 MiB, for a moment
    assert float(kept) == 2**25


def test_rows_are_appended_and_other_columns_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "RESULTS", tmp_path / "new")
    where = timing.machine()
    for value in (1.23456, None):
        timing.append_rows("topic", [{"a": value}], where)
    rows = list(csv.DictReader((tmp_path / "new" / "topic.csv").read_text().splitlines()))
    assert [row["a"] for row in rows] == ["1.235", ""]
    assert all(row["driver"] == "-" and row["versions"].startswith("torch ") and row["commit"] for row in rows)
    with pytest.raises(SystemExit, match=r"topic.csv: its columns are not those of these rows; move it away"):
        timing.append_rows("topic", [{"b": 1}], where)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.5])
def test_exponents_are_found(exponent: float) -> None:
    values = np.array([1, 2, 4, 8])
    assert scaling.fit(values, 3 * values**exponent) == pytest.approx((exponent, 1.0))
    _, factor = scaling.fit(values, 3 * values**exponent * np.array([1, 2, 2, 1]))
    assert factor == pytest.approx(2**0.5)


@pytest.mark.parametrize("preset", features.TIMED)
def test_peers_compute_the_same(preset: str) -> None:
    cfg = timing.FRONT_ENDS[preset]
    y = features.scaled(features.make_clips(cfg, 2, "cpu"))
    expected = log_mel(y, cfg)
    ways = peers.others(cfg, "cpu", 1) | {"librosa": peers.librosas_log_mel(cfg)}
    assert {"scipy", "torchaudio", "nnAudio"} <= set(ways)
    for name, compute in ways.items():
        part = y if name != "NVIDIA DALI" else y[:1]  # its pipeline has the size of its batch
        assert float((compute(part) - expected[: len(part)]).abs().max()) < FAR, name


def test_large_batches_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "AT_ONCE", 2)
    sizes = []
    compute = peers.in_parts(lambda y: sizes.append(len(y)) or 2 * y)
    y = torch.arange(5.0)[:, None]
    torch.testing.assert_close(compute(y), 2 * y)
    assert sizes == [2, 2, 1]


def test_a_wrong_result_is_not_timed() -> None:
    pcm = features.make_clips(WHISPER, 2, "cpu")
    truth = features.Truth(WHISPER, pcm)
    right = features.Way("ours", "int16", lambda: log_mel(pcm, WHISPER), 2, 2)
    errors, _ = features.checked(right, truth, "cpu")
    assert errors.shape == (2, 80, 501)
    wrong = features.Way("another", "int16", lambda: log_mel(pcm, WHISPER) + 0.01, 2, 2)
    with pytest.raises(features.WrongError, match=r"1.0e-02 from librosa, more than 0.001: not timed"):
        features.checked(wrong, truth, "cpu")
    nothing = features.Way("a third", "int16", lambda: torch.full((2, 80, 501), torch.nan), 2, 2)
    with pytest.raises(features.WrongError, match="nan from librosa"):
        features.checked(nothing, truth, "cpu")


def test_a_peer_that_is_wrong_is_named_and_ours_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def ways(*names: str) -> None:
        monkeypatch.setattr(
            features,
            "ways",
            lambda cfg, pcm, _: [
                features.Way(name, "int16", lambda off=off: log_mel(pcm, cfg) + off, len(pcm), 2)
                for off, name in enumerate(names)
            ],
        )

    ways("cumel", "another")
    rows, wrong = features.measure("whisper", 2, "cpu", {"device": 1e10})
    assert [row["peer"] for row in rows] == ["cumel"]
    assert wrong == ["whisper, 2 at once: another, int16: 1.0e+00 from librosa, more than 0.001: not timed"]
    ways("another", "cumel")
    with pytest.raises(SystemExit, match=r"whisper, 2 at once: cumel, int16: 1.0e"):
        features.measure("whisper", 2, "cpu", {"device": 1e10})


def test_a_wrong_end_of_a_long_clip_is_seen() -> None:
    y = 0.1 * torch.randn(1, 30 * WHISPER.sr, generator=torch.Generator().manual_seed(0))
    out = log_mel(y, WHISPER)
    scaling.check("ours", out, y, WHISPER)
    for frame in (5, -5):
        changed = out.clone()
        changed[0, 3, frame] += 0.1
        with pytest.raises(SystemExit, match=r"ours: 1.0e-01 dB from librosa"):
            scaling.check("ours", changed, y, WHISPER)


def test_every_step_is_there() -> None:
    for steps in run_all.STEPS.values():
        for _, script, *options in steps:
            text = Path(script).read_text()
            assert all(f'add_argument("{option}"' in text for option in options if option.startswith("--")), script


def test_a_step_that_fails_is_named_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")
    bad, endless = ((sys.executable, "-c", code) for code in ("raise SystemExit(3)", "while True: pass"))
    monkeypatch.setattr(run_all, "STEPS", {"cpu": (bad, endless, good)})
    monkeypatch.setitem(run_all.LIMIT, "cpu", 1)
    monkeypatch.setattr(run_all, "script", lambda *_: (sys.executable, "-c", "pass"))
    monkeypatch.setattr(sys, "argv", ["run_all.py", "cpu", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"failed: -c raise SystemExit\(3\); -c while True: pass"):
        run_all.main()
    assert (tmp_path / "ran").exists()
    assert "stopped after 1 s" in capsys.readouterr().out


def test_what_takes_too_long_on_a_gpu_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = ((sys.executable, "-c", f"open({str(tmp_path / name)!r}, 'w')") for name in ("first", "second"))
    monkeypatch.setattr(run_all, "STEPS", {"cuda": (first, second)})
    monkeypatch.setattr(run_all, "BUDGET", 1e-6)
    monkeypatch.setattr(run_all, "script", lambda *_: (sys.executable, "-c", "print('the report')"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "cuda"])
    clock = iter(range(100))
    monkeypatch.setattr(run_all.time, "monotonic", lambda: next(clock) / 2e6)
    with pytest.raises(SystemExit, match=r"failed: .*second"):
        run_all.main()
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()
    assert "left out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["features", "scaling", "accuracy"])
def test_a_gpu_that_is_not_there_is_no_processor(name: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    script = Path(__file__).parents[2] / "bench" / f"{name}.py"
    done = subprocess.run([sys.executable, script, "--device", "cuda"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("no CUDA device: nothing to measure")


def test_a_step_on_a_gpu_ends_when_all_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(run_all, "STEPS", {"cuda": [("first",), ("second",), ("third",), ("fourth",)]})
    monkeypatch.setattr(run_all, "script", lambda *_: ("the report",))
    monkeypatch.setattr(run_all, "run", lambda _step, _environment, limit: limits.append(limit) or 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "cuda"])
    clock = iter([0, 0, 0, 250, 250, 470, 470, 490, 490, 490, 490, 490, 490])
    monkeypatch.setattr(run_all.time, "monotonic", lambda: next(clock))
    with pytest.raises(SystemExit, match="failed: fourth"):
        run_all.main()
    assert limits == [300, 230, run_all.LEAST, run_all.REPORT]


def test_a_batch_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> torch.Tensor:
        raise AssertionError("memory was taken")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 2**30, 12 * 2**30))
    monkeypatch.setattr(features, "make_clips", never)
    cfg = PRESETS["esc50"]
    assert features.too_large(cfg, 256, "cuda") is None
    assert features.too_large(cfg, 4096, "cpu") is None
    rows, wrong = features.measure("esc50", 4096, "cuda", {})
    assert rows == []
    assert len(wrong) == 1
    assert wrong[0].startswith("esc50, 4096 at once: takes about 1")
    assert wrong[0].endswith("GiB, and 8.0 GiB of the device are free: left out")


def test_without_librosa_the_reference_stands_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    y = 0.1 * np.random.default_rng(0).standard_normal(WHISPER.sr)
    expected = peers.true_log_mel(y, WHISPER)
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    np.testing.assert_allclose(peers.true_log_mel(y, WHISPER), expected, rtol=0, atol=1e-9)
    assert list(peers.others(WHISPER, "cpu", 1)) == []


def test_the_hosts_share_is_timed_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALLS", 3)
    monkeypatch.setattr(calls, "BATCHES", (1, 5))
    ways = calls.ways("cpu")
    assert len(ways) == 6
    for build in ways.values():
        returned, done = calls.microseconds(build(), "cpu")
        assert 0 < returned < 1e6
        assert 0 < done < 1e6


def test_what_is_timed_around_cufft_goes_there_though_its_plan_was_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is timed after it does not."""
    emulated = Emulated()
    monkeypatch.setattr(features, "log_mel", lambda y, cfg: emulated.frontend.log_mel(Clips.of(y, None, cfg), cfg))
    y = torch.zeros(1, 2000)
    for kernels in (["frontend"], ["cut", "features", "finish"], ["cut", "features", "finish"], ["frontend"]):
        emulated.launcher.launched.clear()
        (features.log_mel if len(kernels) == 1 else features.around_cufft)(y, SMALL)
        assert [kernel.entry for kernel in emulated.launcher.launched] == kernels
