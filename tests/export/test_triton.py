"""A repository for Triton holds the model and a configuration that is true to it."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from cumel.export.graph.metadata import Metadata
from cumel.export.triton import config, place_of, write_repository
from cumel.kernels import CumelError

from support.onnx_models import metadata, save
from support.recordings import tiny_recipe

# The part of Triton's model_config.proto that is written here: message, then fields (label, type, name).
SCHEMA = {
    "Param": [("", "string", "key"), ("", "string", "value")],
    "Accelerator": [("", "string", "name"), ("repeated", "Param", "parameters")],
    "Accelerators": [("repeated", "Accelerator", "gpu_execution_accelerator")],
    "Optimization": [("", "Accelerators", "execution_accelerators")],
    "Input": [("", "string", "name"), ("", "DataType", "data_type"), ("repeated", "int64", "dims")],
    "Output": [
        *[("", "string", "name"), ("", "DataType", "data_type"), ("repeated", "int64", "dims")],
        ("", "string", "label_filename"),
    ],
    "Batching": [("repeated", "int32", "preferred_batch_size"), ("", "uint64", "max_queue_delay_microseconds")],
    "Group": [("", "Kind", "kind"), ("", "int32", "count")],
    "ModelConfig": [
        *[("", "string", "name"), ("", "string", "backend"), ("", "int32", "max_batch_size")],
        *[("repeated", "Input", "input"), ("repeated", "Output", "output"), ("", "Batching", "dynamic_batching")],
        *[("repeated", "Group", "instance_group"), ("", "Optimization", "optimization")],
    ],
}
ENUMS = {"DataType": ("TYPE_INVALID", "TYPE_FP32"), "Kind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU")}


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


def given(**changes: str) -> Metadata:
    props = metadata(tiny_recipe(), ("dog", "two\nlines")).to_props() | changes
    return Metadata.from_props(props)


def test_a_waveform_model_is_batched_and_free_of_tf32() -> None:
    read = parsed(config("dogs", given(input="waveform")))
    assert (read.name, read.backend, read.max_batch_size) == ("dogs", "onnxruntime", 64)
    (taken,), (output,) = read.input, read.output
    assert (taken.name, taken.data_type, list(taken.dims)) == ("waveform", 1, [-1])
    assert (output.name, output.data_type, list(output.dims)) == ("probabilities", 1, [2])
    assert output.label_filename == "labels.txt"
    assert list(read.dynamic_batching.preferred_batch_size) == [8, 16, 32, 64]
    assert read.dynamic_batching.max_queue_delay_microseconds == 2000
    (accelerator,) = read.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "cuda"
    assert [(p.key, p.value) for p in accelerator.parameters] == [("use_tf32", "0")]
    assert not read.instance_group


def test_an_image_model_states_its_shape() -> None:
    (taken,) = parsed(config("dogs", given())).input
    assert (taken.name, list(taken.dims)) == ("image", [1, 16, 63])


def test_eight_bits_stay_on_the_cpu() -> None:
    read = parsed(config("dogs", given(precision="int8")))
    assert [(group.kind, group.count) for group in read.instance_group] == [(2, 1)]
    assert not read.optimization.execution_accelerators.gpu_execution_accelerator


def test_what_triton_does_not_know_is_not_parsed() -> None:
    with pytest.raises(text_format.ParseError):
        parsed(config("dogs", given()) + "colour: 3")


def test_a_repository_is_written_whole_and_keeps_its_others(tmp_path: Path) -> None:
    model = save(tmp_path / "any name.onnx", tiny_recipe())
    for run, precision in (("dogs", "fp32"), ("dogs", "int8"), ("cats/checkpoint.pt", "fp16")):
        place = place_of(tmp_path / "served", tmp_path / run, precision)
        assert write_repository(model, given(precision=precision), place) == place.parent.parent / "config.pbtxt"
        assert place.read_bytes() == model.read_bytes()
    files = {str(path.relative_to(tmp_path / "served")) for path in tmp_path.rglob("served/**/*") if path.is_file()}
    names = ("cats-fp16", "dogs", "dogs-int8")
    assert files == {f"{name}/{file}" for name in names for file in ("1/model.onnx", "config.pbtxt", "labels.txt")}
    assert parsed((tmp_path / "served/dogs-int8/config.pbtxt").read_text()).name == "dogs-int8"
    assert (tmp_path / "served/dogs/labels.txt").read_text().splitlines() == ["dog", "two lines"]


def test_a_name_that_triton_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CumelError, match="my run: Triton takes names of letters, digits"):
        place_of(tmp_path, tmp_path / "my run", "fp32")
