"""Tensors go through a session without a copy, in the order of their stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from cumel.export.runtime import io_binding
from cumel.export.runtime.providers import CUDA, onnxruntime
from cumel.export.runtime.session import Session
from cumel.kernels import CumelError

from support.onnx_models import probabilities, save
from support.recordings import tiny_recipe

RECIPE = tiny_recipe()
SHAPE = (3, *RECIPE.input_shape)
TOLERANCE = 1e-6  # difference of a probability; 6e-8 on a CPU


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model.onnx", RECIPE)


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-60, 20, SHAPE).astype(np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    return np.stack([probabilities(RECIPE, one[0]) for one in x])


def test_memory_is_shared_not_copied() -> None:
    for tensor in (torch.zeros(2, 3), torch.arange(6, dtype=torch.float32).reshape(2, 3)):
        value = io_binding._value(tensor)
        assert value.data_ptr() == tensor.data_ptr()
        tensor[1, 2] = 7
        assert value.numpy()[1, 2] == 7


def test_a_tensor_is_read_where_it_lies(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    share = io_binding._value

    def recording(tensor: torch.Tensor) -> Any:
        given.append(tensor.data_ptr())
        return share(tensor)

    monkeypatch.setattr(io_binding, "_value", recording)
    x = torch.from_numpy(images())
    out = Session(model, "cpu").run(x)
    assert given == [x.data_ptr(), out.data_ptr()]
    assert isinstance(out, torch.Tensor)
    np.testing.assert_allclose(out, expected(x.numpy()), atol=TOLERANCE)


def test_what_is_not_contiguous_or_needs_a_gradient_goes_in_as_well(model: Path) -> None:
    x = torch.from_numpy(images()).transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    assert not x.is_contiguous()
    out = Session(model, "cpu").run(x)
    np.testing.assert_allclose(out, expected(x.detach().numpy()), atol=TOLERANCE)


def test_arrays_and_tensors_give_the_same(model: Path) -> None:
    session, x = Session(model, "cpu"), images()
    np.testing.assert_array_equal(session.run(x), session.run(torch.from_numpy(x)).numpy())


def test_bound_memory_stays_in_place(model: Path) -> None:
    bound = Session(model, "cpu", sizes={"batch": 3}).bound(SHAPE)
    places = bound.input.data_ptr(), bound.output.data_ptr()
    for seed in range(3):
        x = images(seed)
        bound.input.copy_(torch.from_numpy(x))
        out = bound.run()
        np.testing.assert_allclose(out, expected(x), atol=TOLERANCE)
        assert out is bound.output
        assert (bound.input.data_ptr(), bound.output.data_ptr()) == places


@pytest.mark.parametrize("shape", [(3, 1, 15, 63), (3, 16, 63), (3,)])
def test_another_shape_cannot_be_bound(model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(CumelError, match=r"takes \['batch', 1, 16, 63\], not"):
        Session(model, "cpu").bound(shape)


def test_a_tensor_of_another_shape_is_one_clear_line(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CumelError, match=r"fails on an input of \(1, 1, 9, 63\)"):
        Session(model, "cpu").run(torch.zeros(1, 1, 9, 63))
    assert capfd.readouterr() == ("", "")


def test_a_captured_session_refuses_memory_of_another_place(model: Path) -> None:
    """It would replay the graph on the memory of the first call, and answer for that."""
    session = Session(model, "cpu")
    session.cuda_graph = True
    for batch in (images(), torch.from_numpy(images())):
        with pytest.raises(CumelError, match="replayed from a CUDA graph, on fixed memory alone: use `bound`"):
            session.run(batch)


def test_each_bound_memory_has_a_graph_of_its_own(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Options(onnxruntime().RunOptions):
        def add_run_config_entry(self, name: str, value: str) -> None:
            asked.append(f"{name}={value}")

    session = Session(model, "cpu")
    session.cuda_graph = True
    bounds = session.bound(SHAPE), session.bound(SHAPE)
    monkeypatch.setattr(onnxruntime(), "RunOptions", Options)
    for bound in (*bounds, bounds[0]):
        bound.run()
    assert asked[0] == asked[2] != asked[1]
    assert all(name.startswith("gpu_graph_id=") for name in asked)


@pytest.mark.gpu
@pytest.mark.parametrize("on_own_stream", [False, True])
def test_pending_work_comes_first(model: Path, on_own_stream: bool) -> None:
    """The input is written behind a long queue of work: whoever does not wait reads zeros."""
    stream = torch.cuda.Stream() if on_own_stream else None
    session, x = Session(model, "cuda", stream=stream), torch.from_numpy(images()).cuda()
    session.run(x)
    slow = torch.randn(4096, 4096, device="cuda")
    for _ in range(3):
        late = torch.zeros_like(x)
        for _ in range(50):
            slow = slow @ slow / 4096
        late.copy_(x)
        out = session.run(late)
        late.zero_()  # the next work of the caller, which in turn waits for the session
        np.testing.assert_allclose(out.cpu(), expected(x.cpu().numpy()), atol=1e-4)
        assert out.device == x.device


@pytest.mark.gpu
def test_cupy_goes_in_and_out_on_its_stream(model: Path) -> None:
    cupy = pytest.importorskip("cupy")
    session, x = Session(model, "cuda", stream=torch.cuda.Stream()), images()
    with cupy.cuda.Stream(non_blocking=True):
        out = session.run(cupy.asarray(x))
        assert isinstance(out, cupy.ndarray)
        np.testing.assert_allclose(out.get(), expected(x), atol=1e-4)


@pytest.mark.gpu
def test_a_captured_graph_replays_on_new_input(model: Path) -> None:
    session = Session(model, "cuda", sizes={"batch": 3}, stream=torch.cuda.Stream(), cuda_graph=True)
    bounds = session.bound(SHAPE), session.bound(SHAPE)  # each with memory and a graph of its own
    for seed in range(10):  # warm-up, capture, replays
        x = images(seed)
        bounds[seed % 2].input.copy_(torch.from_numpy(x))
        np.testing.assert_allclose(bounds[seed % 2].run().cpu(), expected(x), atol=1e-4)
    assert {node.provider for node in session.nodes} == {CUDA}  # No copy between devices has to be captured.


@pytest.mark.gpu
def test_tf32_is_off(tmp_path: Path) -> None:
    """A product of which TF32 would keep ten bits."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((256, 256)).astype(np.float32) for _ in range(2))
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [256, 256]) for name in ("a", "product")]
    weights = helper.make_tensor("b", TensorProto.FLOAT, b.shape, b.tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["product"])], "product", sizes[:1], sizes[1:], [weights]
    )
    path = tmp_path / "product.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(made.SerializeToString())
    session = Session(path, "cuda")
    assert session.raw.get_provider_options()[CUDA]["use_tf32"] == "0"
    np.testing.assert_allclose(session.run(a), a.astype(np.float64) @ b, atol=1e-3)  # 2e-5 in float32, 5e-2 in TF32


@pytest.mark.gpu
def test_every_node_has_a_kernel_on_the_gpu(model: Path) -> None:
    report = Session(model, require_gpu=True).report()
    assert report["actual"] == CUDA
    assert set(report["nodes"]) == {CUDA}
    assert onnxruntime().get_device() == "GPU"
