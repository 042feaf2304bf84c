"""ONNX export of a network that `cumel train` did not train: any torch module, or an .onnx file of another exporter."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxscript import ir
from torch import nn

from ..esc50.system import defaults, first_line
from ..kernels import CumelError, FeatureConfig, config_of
from .check import Answers, features_of, of_graph, of_torch
from .graph import PROBABILITIES, Interface, Metadata, calibration_clips, choose_outputs, quantized, read_network
from .to_onnx import check_bytes, check_precision, graph_of, interface_of
from .triton import named
from .written import Place, versions, write_model


@defaults()
def export_module(
    net: nn.Module | Path | str,
    cfg: FeatureConfig | str,
    seconds: float,
    labels: Sequence[str],
    out: Path | str | None = None,
    interface: Interface | None = None,
    *,
    kind: str = "logmel",
    channel: bool = True,
    activation: str = "softmax",
    precision: str = "fp32",
    calibration: Sequence[Path] = (),
    triton: Path | str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Write any network as an ONNX file with the front end of `cfg` inside, once it is proved equal to the network.

    The file takes and gives what that of a trained run does, and `cumel.load`, `cumel predict` and `cumel web` read it.

    Parameters
    ----------
    net : Module, or path
        From features [batch, 1, n_mels, n_frames], float32, to one value for each label. It is copied, and used in
        evaluation mode; the module stays as it is. A path names an .onnx file of another exporter.
    cfg : FeatureConfig or str
        The features, or the name of a preset. With `cfg.time_major` the network takes [batch, 1, n_frames, n_mels].
    seconds : float
        Length of the clips that the network takes.
    labels : sequence of str
        Names of the network's values, in their order.
    out : path, optional
        The .onnx file; NAME.labels.json and a model card, NAME.md, are written beside it. With `triton` it may be left
        out.
    interface : Interface, optional
        What the file takes and gives. Its `fit`, for clips that are shorter than the network's, is "zeros" by default.
    kind : {"logmel", "image"}
        Levels as `cfg` says, or stretched clip by clip over 0..255.
    channel : bool
        Whether the network's input has the axis of one channel; without it, it is [batch, n_mels, n_frames].
    activation : {"softmax", "sigmoid", "none"}
        What makes probabilities of the network's values; "none" where it gives probabilities itself.
    precision : {"fp32", "fp16", "int8"}
        Precision of the network; the front end is always float32. A file has no fp16.
    calibration : sequence of path
        For int8: recordings on which activations are measured, and the result is checked.
    triton : path, optional
        Folder of a Triton model repository; the model is put into it.
    name : str, optional
        Name of the network; without it, that of its class or file.

    Returns
    -------
    dict
        The files, the inputs and outputs, and the report of the check.

    Raises
    ------
    CumelError
        For a network that does not take the features or give a value for each label, one that torch cannot export, a
        file that fails its check, and a place that cannot be written.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64 * 101, 2))
    >>> cfg = FeatureConfig(sr=16000, n_fft=512, hop_length=160, n_mels=64)
    >>> export_module(net, cfg, 1.0, ["dog"], "dogs.onnx")
    Traceback (most recent call last):
    ...
    cumel.kernels.errors.CumelError: Sequential: gives [2, 2] for a batch of 2, and 1 label needs [2, 1]
    """
    interface = interface_of(interface)
    if not isinstance(net, nn.Module | Path | str):
        raise CumelError(f"net: expected a torch module, or the path of an .onnx file, got {type(net).__name__}")
    name = name or (Path(net).stem if isinstance(net, Path | str) else type(net).__name__)
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise CumelError(f"labels: expected a list of names, got {labels!r:.60}")
    place = Place.of(out, triton, named(name, precision))
    check_precision(precision, calibration)
    metadata = Metadata(
        name=name,
        labels=tuple(labels),
        features=config_of(cfg),
        kind=kind,
        seconds=seconds,
        interface=interface.replace(fit=interface.fit or "zeros"),
        precision=precision,
        activation=activation,
        channel=channel,
        versions=versions(),
    )
    measured, clips = calibration_clips(calibration, metadata) if calibration else (None, None)
    of = _of_file if isinstance(net, Path | str) else _of_module
    network, answers = of(net, metadata, measured)  # pyright: ignore[reportArgumentType]
    return write_model(network, metadata, answers, place, clips)


def _of_module(net: nn.Module, metadata: Metadata, measured: NDArray[np.float32] | None) -> tuple[ir.Model, Answers]:
    try:
        copied = copy.deepcopy(net).to("cpu").float().eval()
    except Exception as error:  # whatever a module's own __deepcopy__ raises
        raise CumelError(f"{metadata.name}: cannot be copied ({first_line(error)})") from None
    check_bytes(copied, metadata.name)
    _check_module(copied, metadata)
    return graph_of(copied, metadata, measured), of_torch(copied, metadata.activation)


def _check_module(net: nn.Module, metadata: Metadata) -> None:
    """Raise a `CumelError` for a network that does not take the features, or gives no value for each label."""
    name, shape = metadata.name, [2, *metadata.input_shape]
    given, why = _tried(net, shape)
    if why is not None:
        other = [2, *metadata.input_shape[1:]] if metadata.channel else [2, 1, *metadata.input_shape]
        remedy = f"; it takes {other}: give channel={not metadata.channel}" if _tried(net, other)[1] is None else ""
        raise CumelError(f"{name}: does not take features {shape} ({why}){remedy}")
    if not isinstance(given, torch.Tensor):
        raise CumelError(f"{name}: gives a {type(given).__name__}, and one tensor is needed; export a part of it")
    n = len(metadata.labels)
    if list(given.shape) != [2, n]:
        counted = f"{n} label{'s' if n > 1 else ''} need{'' if n > 1 else 's'}"
        raise CumelError(f"{name}: gives {list(given.shape)} for a batch of 2, and {counted} [2, {n}]")


def _tried(net: nn.Module, shape: list[int]) -> tuple[Any, str | None]:
    """Return what a network makes of zeros, or why it cannot take them."""
    try:
        with torch.inference_mode():
            return net(torch.zeros(shape)), None
    except Exception as error:  # whatever a module raises
        return None, first_line(error)


def _of_file(path: Path | str, metadata: Metadata, measured: NDArray[np.float32] | None) -> tuple[ir.Model, Answers]:
    if metadata.precision not in ("fp32", "int8"):
        raise CumelError(f"precision={metadata.precision}: must be fp32 or int8, as the network is a file")
    network = read_network(Path(path), metadata)
    own = ir.from_proto(ir.to_proto(network))
    choose_outputs(own.graph, metadata.interface.network_outputs or (PROBABILITIES,), metadata.activation)
    answers = of_graph(own)
    return (network if measured is None else quantized(network, features_of(measured, metadata))), answers
