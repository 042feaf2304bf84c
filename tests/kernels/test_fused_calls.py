"""Calls of the CUDA path: interrupted ones, two at a time, what they upload, and what a graph may capture."""

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from cumel.kernels import CumelError, FeatureConfig, cuda, interchange, launcher, plan, tensors
from cumel.kernels.cuda import Argument, Clips, Frontend
from cumel.kernels.plan import Grid, Kernel

from support.emulation import FEATURES, Emulated, EmulatedLauncher
from support.launches import GENERIC, Launch, large_blocks, small
from support.signals import SMALL

FINISHED = ("log_mel", "half", "mel_image")
CUDA = torch.device("cuda", 0)
RAGGED = (18, 14)  # frames
LAUNCHED = {
    "around cuFFT": Launch("", GENERIC, n_frames=(5, 3)),  # in several parts
    "finished apart": Launch("", small(256), n_frames=RAGGED),
    "one launch": Launch("", small(256), n_frames=RAGGED),
}


class Disturbed(EmulatedLauncher):
    """Does something else before one of its launches."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[int, Callable[[], object]] = {}  # by the number of a launch

    def launch(self, kernel: Kernel, grid: Grid, arguments: Sequence[Argument]) -> None:
        self.before.pop(len(self.launched), lambda: None)()
        super().launch(kernel, grid, arguments)


def disturbed() -> tuple[Disturbed, Emulated]:
    emulated = Emulated()
    emulated.launcher = Disturbed()
    emulated.frontend = Frontend(emulated.launcher)
    return emulated.launcher, emulated


@pytest.fixture(params=LAUNCHED)
def launch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Launch:
    if request.param == "finished apart":
        monkeypatch.setattr(plan, "ONE_BLOCK_BYTES", 0)
    with large_blocks():
        yield LAUNCHED[request.param]


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("feature", FINISHED)
def test_an_interrupted_call_leaves_nothing_behind(feature: str, launch: Launch) -> None:
    launch = launch._replace(feature="log_mel" if feature == "half" else feature, half=feature == "half")
    counted, emulated = disturbed()
    expected = launch.run(emulated)
    for n in range(len(counted.launched)):
        counted.before[len(counted.launched) + n] = interrupt
        with pytest.raises(KeyboardInterrupt):
            launch.run(emulated)
        np.testing.assert_array_equal(launch.run(emulated), expected)


@pytest.mark.parametrize("feature", FINISHED)
def test_two_threads_on_one_stream_do_not_meet(feature: str, launch: Launch) -> None:
    """Another call comes between any two launches of one."""
    launch = launch._replace(feature="log_mel" if feature == "half" else feature, half=feature == "half")
    loud, quiet = launch, launch._replace(kind="quiet", cfg=launch.cfg.replace(top_db=30.0))
    counted, emulated = disturbed()
    expected = loud.run(emulated), quiet.run(Emulated())
    for n in range(len(counted.launched)):
        between = []
        counted.before[len(counted.launched) + n] = lambda: between.append(quiet.run(emulated))  # noqa: B023
        np.testing.assert_array_equal(loud.run(emulated), expected[0])
        np.testing.assert_array_equal(between[0], expected[1])


@pytest.mark.parametrize("feature", FEATURES)
def test_only_ragged_lengths_are_uploaded_and_once(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, upload, emulated = [], cuda._upload, Emulated()
    monkeypatch.setattr(cuda, "_upload", lambda *given: uploads.append(1) or upload(*given))
    y = np.zeros((3, 5000), np.float32)
    for cfg in (SMALL, GENERIC):
        emulated(feature, y, cfg)
        emulated(feature, y[0], cfg)
        emulated(feature, y.reshape(-1), cfg, [5000] * 3)
        lengths = torch.tensor([5000, 1, 700])  # on one device with the samples
        emulated("log_mel" if feature == "half" else feature, y, cfg, lengths)
        assert not uploads
        emulated(feature, y, cfg, [5000, 1, 700])
        emulated(feature, y.reshape(-1), cfg, [5000, 1, 9999])
        assert len(uploads) == 2
        uploads.clear()


@pytest.mark.parametrize("lengths", [None, [2**32, 7], torch.tensor([2**32, 7])])
def test_rows_may_be_longer_than_the_kernels_stride(lengths: list[int] | Tensor | None) -> None:
    """Such clips are described one by one; 16 GB of samples are not at hand, and a meta tensor needs none."""
    clips = Clips.of(torch.empty(2, 2**32, device="meta"), lengths, SMALL)._replace(samples=torch.zeros(1))
    made = cuda._prepared(SMALL, plan.Stage.DECIBEL, plan.Form.FLOAT, False, torch.device("cpu"))
    starts, given, start, stride, n_samples, *_ = cuda._batch(clips, made, SMALL, 16)
    assert starts.tolist() == [0, 2**32]
    assert given.tolist() == ([2**32, 2**32] if lengths is None else [2**32, 7])
    assert (start, stride, n_samples) == (0, 0, 2**32)


def test_tables_are_uploaded_once_for_all_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, resident = [], cuda.resident
    monkeypatch.setattr(cuda, "resident", lambda *given: uploads.append(1) or resident(*given))
    cuda._prepared.cache_clear()
    for n_samples in (700, 5000, 9000):
        Emulated()("log_mel", np.zeros((2, n_samples), np.float32), SMALL)
    assert len(uploads) == len(plan.fused(SMALL, plan.Stage.DECIBEL).tables)


def test_what_stays_on_a_device_is_not_of_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """While torch.compile warms a CUDA graph up, its thread's memory is the graph's."""
    threads = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, _: threads.append(threading.get_ident()) or self)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    values = np.arange(3, dtype=np.float32)
    assert torch.equal(tensors.resident(values, CUDA), torch.arange(3.0))
    assert threads
    assert threading.get_ident() not in threads


def test_what_a_graph_cannot_capture_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(CumelError, match=r"^a CUDA graph is being captured: compute once before with this config"):
        tensors.resident(np.zeros(1), CUDA)
    with pytest.raises(CumelError, match=r"^a CUDA graph is being captured.*: give lengths as a tensor on cuda:0$"):
        cuda._upload(np.zeros((1, 1), np.int64), CUDA)


def test_every_stream_has_a_workspace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, capturing = SimpleNamespace(cuda_stream=0), [False]
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    monkeypatch.setattr(launcher, "resident", lambda values, _: torch.from_numpy(values))
    counted = launcher.Launcher.__new__(launcher.Launcher)  # without CuPy
    counted._device, counted._workspaces = torch.device("cpu"), {}

    def given(n_clips: int) -> tuple[int, int]:
        peaks, tickets = counted.workspace(n_clips)
        assert peaks.shape[1:] == (2,)
        assert min(len(peaks), len(tickets)) >= n_clips
        assert peaks.is_contiguous()
        assert not peaks.any()
        assert not tickets.any()
        return peaks.data_ptr(), tickets.data_ptr()

    first = given(5)
    assert given(3) == given(8) == first
    stream.cuda_stream = 7
    assert given(3) != first
    assert given(9) != given(3) or len(counted.workspace(3)[1]) >= 9
    stream.cuda_stream = 0
    assert given(5) == first
    capturing[0] = True
    assert given(5) != first


def test_cupys_default_stream_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.cuda.ExternalStream(0)` would be another stream of torch's pool at each call."""
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: ("default", device))
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda address, device: (address, device))
    assert interchange._torchs(0, CUDA) == ("default", CUDA)
    assert interchange._torchs(4096, CUDA) == (4096, CUDA)


@pytest.mark.parametrize("cfg", [SMALL, SMALL.replace(pad_mode="reflect"), SMALL.replace(center=False)])
def test_lengths_on_a_device_are_not_waited_for(cfg: FeatureConfig) -> None:
    """A meta tensor has no values: whoever asks for them fails."""
    y, lengths = (torch.empty(size, device="meta") for size in ((2, 3, 5000), (2, 3)))
    given, packed = interchange.clip_lengths(lengths.to(torch.int32), y, cfg)
    assert isinstance(given, Tensor)
    assert (given.dtype, given.shape, packed) == (torch.int64, (6,), False)
    clips = Clips.of(y.reshape(6, 5000), given, cfg)
    assert clips.lengths is given
    for wrong in (lengths, lengths[0].long()):  # real numbers; of another shape
        with pytest.raises(CumelError):
            interchange.clip_lengths(wrong, y, cfg)
