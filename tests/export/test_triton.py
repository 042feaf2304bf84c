"""A Triton repository has the model, its labels and a configuration that fits it."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from cumel.export import Interface, export_onnx
from cumel.export.graph.metadata import Metadata
from cumel.export.triton import config, for_batches, name_of, place_of, write_repository
from cumel.kernels import CumelError

from support.exported import clips, lively_run
from support.onnx_models import save
from support.recordings import tiny_recipe

# The part of Triton's model_config.proto that is written here: message, then fields (label, type, name).
SCHEMA = {
    "Param": [("", "string", "key"), ("", "string", "value")],
    "Accelerator": [("", "string", "name"), ("repeated", "Param", "parameters")],
    "Accelerators": [("repeated", "Accelerator", "gpu_execution_accelerator")],
    "Optimization": [("", "Accelerators", "execution_accelerators")],
    "Shape": [("repeated", "int64", "shape")],
    "Input": [
        *[("", "string", "name"), ("", "DataType", "data_type"), ("repeated", "int64", "dims")],
        ("", "Shape", "reshape"),
    ],
    "Output": [
        *[("", "string", "name"), ("", "DataType", "data_type"), ("repeated", "int64", "dims")],
        ("", "string", "label_filename"),
    ],
    "Batching": [("", "uint64", "max_queue_delay_microseconds")],
    "Group": [("", "Kind", "kind"), ("", "int32", "count")],
    "ModelConfig": [
        *[("", "string", "name"), ("", "string", "backend"), ("", "int32", "max_batch_size")],
        *[("repeated", "Input", "input"), ("repeated", "Output", "output"), ("", "Batching", "dynamic_batching")],
        *[("repeated", "Group", "instance_group"), ("", "Optimization", "optimization")],
    ],
}
ENUMS = {
    "DataType": ("TYPE_INVALID", "TYPE_FP32", "TYPE_INT16", "TYPE_INT64"),
    "Kind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU"),
}

FP32, INT16, INT64 = 1, 2, 3
RAGGED = (1, 2, 3, 100, 999, 2500, 4001, 7999, 8000)  # samples
BATCHED = 1e-6  # difference of a probability in a batch; 1.2e-7 at worst


def parsed(text: str) -> Message:
    """Parse protobuf text by Triton's own names and types."""
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="triton", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (label, kind, field) in enumerate(fields, 1):
            made = message.field.add(name=field, number=number)
            made.label = kinds.LABEL_REPEATED if label else kinds.LABEL_OPTIONAL
            if kind in SCHEMA or kind in ENUMS:
                made.type = kinds.TYPE_ENUM if kind in ENUMS else kinds.TYPE_MESSAGE
                made.type_name = f".triton.{kind}"
            else:
                made.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return text_format.Parse(text, message_factory.GetMessageClass(pool.FindMessageTypeByName("triton.ModelConfig"))())


def given(interface: Interface | None = None, precision: str = "fp32") -> Metadata:
    interface = Interface(lengths=True) if interface is None else interface
    made = {"labels": ("dog", "two\nlines"), "interface": interface, "precision": precision}
    return Metadata.of_recipe(tiny_recipe(), fold=1, epoch=1, **made)


def configured(interface: Interface | None = None, precision: str = "fp32", **sizes: list[int]) -> Message:
    return parsed(config("dogs", given(interface, precision), sizes or {"probabilities": [2]}))


def test_a_waveform_model_takes_padded_clips_and_is_free_of_tf32() -> None:
    read = configured()
    assert (read.name, read.backend, read.max_batch_size) == ("dogs", "onnxruntime", 64)
    taken, lengths = read.input
    assert (taken.name, taken.data_type, list(taken.dims)) == ("waveform", FP32, [8000])
    assert (lengths.name, lengths.data_type, list(lengths.dims)) == ("lengths", INT64, [1])
    assert lengths.HasField("reshape")
    assert not lengths.reshape.shape
    (output,) = read.output
    assert (output.name, output.data_type, list(output.dims)) == ("probabilities", FP32, [2])
    assert output.label_filename == "labels.txt"
    assert read.dynamic_batching.max_queue_delay_microseconds == 2000
    (accelerator,) = read.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "cuda"
    assert [(p.key, p.value) for p in accelerator.parameters] == [("use_tf32", "0")]
    assert not read.instance_group


@pytest.mark.parametrize(
    ("interface", "data_type", "dims"),
    [
        (Interface(samples=3000), FP32, [3000]),
        (Interface(lengths=True, dtype="int16", channels=True), INT16, [-1, 8000]),
        (Interface(lengths=True, rate=44100), FP32, [44100]),
        (Interface(input="image"), FP32, [1, 16, 63]),
    ],
)
def test_inputs_have_the_form_of_the_file(interface: Interface, data_type: int, dims: list[int]) -> None:
    taken = configured(interface).input[0]
    assert (taken.name, taken.data_type, list(taken.dims)) == (interface.input, data_type, dims)


def test_outputs_have_the_files_axes_and_labels_where_columns_have_some() -> None:
    outputs = Interface(outputs=("embedding", "logits", "features"), lengths=True)
    read = configured(outputs, embedding=[64], logits=[2], features=[1, 16, 63]).output
    assert [(output.name, list(output.dims), output.label_filename) for output in read] == [
        ("embedding", [64], ""),
        ("logits", [2], "labels.txt"),
        ("features", [1, 16, 63], ""),
    ]


def test_eight_bits_stay_on_the_cpu() -> None:
    read = configured(precision="int8")
    assert [(group.kind, group.count) for group in read.instance_group] == [(2, 1)]
    assert not read.optimization.execution_accelerators.gpu_execution_accelerator


def test_what_triton_does_not_know_is_not_parsed() -> None:
    with pytest.raises(text_format.ParseError):
        parsed(config("dogs", given(), {"probabilities": [2]}) + "colour: 3")


def test_every_waveform_of_any_length_is_served_with_lengths() -> None:
    assert for_batches(Interface()) == Interface(lengths=True)
    for kept in (Interface(samples=99), Interface(input="image"), Interface(lengths=True, dtype="int16")):
        assert for_batches(kept) == kept


def test_a_repository_is_written_whole_and_keeps_its_others(tmp_path: Path) -> None:
    model = save(tmp_path / "any name.onnx", tiny_recipe())
    for run, precision in (("dogs", "fp32"), ("dogs", "int8"), ("cats/checkpoint.pt", "fp16")):
        place = place_of(tmp_path / "served", name_of(tmp_path / run, precision))
        written = write_repository(model, given(precision=precision), place, {"probabilities": [2]})
        assert written == place.parent.parent / "config.pbtxt"
        assert place.read_bytes() == model.read_bytes()
    files = {str(path.relative_to(tmp_path / "served")) for path in tmp_path.rglob("served/**/*") if path.is_file()}
    names, written = ("cats-fp16", "dogs", "dogs-int8"), ("1/model.onnx", "config.pbtxt", "labels.txt", "README.md")
    assert files == {f"{name}/{file}" for name in names for file in written}
    assert parsed((tmp_path / "served/dogs-int8/config.pbtxt").read_text()).name == "dogs-int8"
    assert (tmp_path / "served/dogs/labels.txt").read_text().splitlines() == ["dog", "two lines"]


def test_a_name_that_triton_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="my run: Triton takes names of letters, digits"):
        place_of(tmp_path, "my run")


class Client(types.ModuleType):
    """tritonclient.http as far as a client needs it; requests are kept, and not answered."""

    def __init__(self) -> None:
        super().__init__("tritonclient.http")
        self.requests: list[dict[str, np.ndarray]] = []
        client = self

        class InferInput:
            def __init__(self, name: str, shape: list[int], datatype: str) -> None:
                self.name, self.shape, self.datatype = name, shape, datatype

            def set_data_from_numpy(self, array: np.ndarray) -> object:
                assert list(array.shape) == self.shape
                assert {"FP32": "float32", "INT64": "int64", "INT16": "int16"}[self.datatype] == str(array.dtype)
                self.array = array
                return self

        class InferenceServerClient:
            def __init__(self, url: str) -> None:
                assert "://" not in url

            def infer(self, model_name: str, inputs: list[InferInput], outputs: list[str]) -> object:
                assert (model_name, outputs) == ("dogs", ["probabilities"])
                client.requests.append({given.name: given.array for given in inputs})
                return types.SimpleNamespace(as_numpy=lambda name: np.array([[f"0.5:0:{name}"]]))

        self.InferInput, self.InferenceServerClient = InferInput, InferenceServerClient
        self.InferRequestedOutput = lambda name, **_classes: name


def test_requests_of_any_recordings_share_a_batch_and_are_answered_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is the README's; the server stacks what agrees in shape, as Triton does, and reshapes lengths."""
    recipe, client, rng = tiny_recipe(), Client(), np.random.default_rng(0)
    export_onnx(lively_run(tmp_path / "run", recipe), triton=tmp_path / "served", name="dogs")
    monkeypatch.setitem(sys.modules, "tritonclient", types.ModuleType("tritonclient"))
    monkeypatch.setattr(sys.modules["tritonclient"], "http", client, raising=False)
    monkeypatch.setitem(sys.modules, "tritonclient.http", client)
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", (tmp_path / "served/dogs/README.md").read_text(), re.DOTALL)
    recordings = [y[:n] for y, n in zip(clips(recipe, len(RAGGED)), RAGGED, strict=True)]
    recordings.append(rng.normal(0, 0.1, 3 * recipe.n_samples).astype(np.float32))
    for y in recordings:
        soundfile.write("dog.wav", y, recipe.features.sr, subtype="FLOAT")
        exec(program, {})
    assert len({tuple(array.shape for array in request.values()) for request in client.requests}) == 1
    feeds = {name: np.concatenate([request[name] for request in client.requests]) for name in ("waveform", "lengths")}
    feeds["lengths"] = feeds["lengths"].reshape(-1)
    model = onnxruntime.InferenceSession(tmp_path / "served/dogs/1/model.onnx", providers=["CPUExecutionProvider"])
    (together,) = model.run(None, feeds)
    alone = [model.run(None, {"waveform": y[None], "lengths": np.array([len(y)])})[0][0] for y in recordings]
    np.testing.assert_allclose(together, alone, rtol=0, atol=BATCHED)
    padded = feeds | {"lengths": np.full(len(recordings), recipe.n_samples)}
    assert abs(model.run(None, padded)[0] - alone).max() > 0.05  # what padding alone would have given
