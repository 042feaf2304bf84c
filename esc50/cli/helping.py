"""What a command's help shows beside its options: examples; and what the shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

from rich.markup import escape
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.models import OptionInfo

from ...kernels import PRESETS
from ...kernels.rules import CHOICES

EXAMPLES = {
    "synth": ("cumel synth data/synth", "cumel synth data/small --classes 5 --clips-per-class 10 --sr 16000"),
    "download": ("cumel download data/esc50",),
    "extract": (
        "cumel extract recordings --out features",
        "cumel extract 'calls/**/*.flac' --out features --preset whisper --device cuda",
    ),
    "convert": ("cumel convert features --to webdataset --out shards", "cumel convert features --to hdf5 --out f.h5"),
    "verify": (
        "cumel verify features",
        "cumel verify recordings --preset compact",
        "cumel verify recordings --against preprocessor_config.json",
    ),
    "train": (
        "cumel train --data data/esc50 --out runs/first --fold 5",
        "cumel train --data sounds --out runs/mine --epochs 50 --balance weights",
    ),
    "evaluate": ("cumel evaluate runs/first --data data/esc50",),
    "cross-validate": ("cumel cross-validate --data data/esc50 --out runs/all --seeds 0,1",),
    "export": (
        "cumel export runs/first --out model.onnx",
        "cumel export runs/first --out small.onnx --precision int8 --calibration data/esc50/audio",
    ),
    "frontend": (
        "cumel frontend --preset whisper --seconds 30 --out whisper.onnx",
        "cumel frontend --sr 16000 --n-mels 64 --out mel.onnx",
    ),
    "predict": (
        "cumel predict model.onnx dog.wav cat.mp3",
        "cumel predict model.onnx day.flac --hop-seconds 2.5 --events day.csv",
        "arecord -t raw -f S16_LE -r 44100 | cumel predict model.onnx --raw --sr 44100 -",
    ),
    "web": ("cumel web model.onnx --out site",),
    "plot": ("cumel plot dog.wav cat.mp3 --out picture.png",),
    "bench": ("cumel bench features",),
    "doctor": ("cumel doctor", "cumel doctor --json --require-gpu"),
}

RECIPES, PROVIDERS = ("baseline", "quick", "best"), ("auto", "cpu", "cuda", "tensorrt")
DEVICES = ("auto", "cpu", "cuda")
# Values of options, by command and parameter, or by the parameter alone; most of the lists themselves come with torch,
# for which no shell waits.
VALUES: dict[str | tuple[str, str], Iterable[str]] = {
    "preset": PRESETS,
    "device": DEVICES,
    "recipe": RECIPES,
    "provider": PROVIDERS,
    ("train", "precision"): ("fp32", "bf16"),
    ("cross-validate", "precision"): ("fp32", "bf16"),
    ("train", "parallel"): ("ddp", "ring"),
    ("convert", "to"): ("npy", "webdataset", "zarr", "hdf5", "hf"),
    ("export", "input"): ("waveform", "image"),
    ("export", "precision"): ("fp32", "fp16", "int8"),
    ("extract", "features"): ("logmel", "mel", "stft", "mfcc", "image"),
    ("extract", "dtype"): ("float32", "float16"),
    ("extract", "engine"): ("local", "ray"),
    ("predict", "format"): ("csv", "jsonl"),
    ("predict", "dtype"): ("int16", "float32"),
    ("predict", "aggregate"): ("mean", "max"),
    **{name: tuple(map(str, values)) for name, values in CHOICES.items()},
}


class Command(TyperCommand):
    """A command whose help has examples, paragraphs as wide as the screen, and no type beside a flag."""

    def __init__(self, name: str, *, help: str | None = None, **given: Any) -> None:  # noqa: A002
        paragraphs = (" ".join(paragraph.split()) for paragraph in (help or "").split("\n\n"))
        lines = [f"  {escape(line)}" for line in EXAMPLES.get(name, ())]
        given["epilog"] = "\n".join(["Examples:", *lines]) if lines else None
        super().__init__(name, help="\n\n".join(paragraphs), **given)

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters; a flag takes no value, where typer shows <bool>."""
        return _plain(super().get_params(ctx))


class Commands(TyperGroup):
    """The commands, whose ``--help`` is fast."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options with a default each: typer imports pydantic, in 60 ms, to find that no value is none."""
        params = _plain(super().get_params(ctx))
        for option in params:
            option.default = False if option.default is None else option.default
        return params


def _plain(params: Any) -> Any:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


def complete_values(name: str, command: Callable[..., Any]) -> None:
    """Have the shell complete the values of a command's options. It costs time, and only completion needs it."""
    command.__annotations__ = get_type_hints(command, include_extras=True)  # typer evaluates texts anew
    for parameter, hint in command.__annotations__.items():
        values = VALUES.get((name, parameter), VALUES.get(parameter))
        for described in getattr(hint, "__metadata__", ()):
            if values is not None and isinstance(described, OptionInfo):
                described.autocompletion = _completion(values)


def _completion(values: Iterable[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]
