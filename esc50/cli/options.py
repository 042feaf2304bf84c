"""Command-line options shared by commands: the fields of `FeatureConfig`, and the ones that every command has."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import Field, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperOption

from ...kernels import PRESETS, CumelError, FeatureConfig
from ...kernels.rules import CHOICES, WHOLE
from .helping import Command

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N. auto is the first CUDA device, or the CPU.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the recordings, where their table lies elsewhere.")]
DATA_HELP = (
    "A folder per class; a table (.csv, .tsv, .jsonl, .parquet) of path and label; ESC-50, UrbanSound8K, FSD50K or an "
    "audiofolder."
)
Data = Annotated[Path, typer.Option("--data", help=DATA_HELP)]
INPUTS_HELP = "Recordings, folders, patterns, lists (.csv, .tsv, .jsonl, .parquet, .txt), or - for a list on stdin."
Inputs = Annotated[list[str], typer.Argument(help=INPUTS_HELP, show_default=False)]


def _any_of(name: str) -> str:
    return ", ".join(map(str, CHOICES[name]))


HELP = {
    "sr": "Hz; recordings are resampled to it.",
    "scale": "Factor of the samples; 32768 for models that were trained on numbers of 16 bits.",
    "remove_dc": "Subtract each frame's mean.",
    "preemphasis": "a in y[n] = x[n] - a x[n - 1].",
    "preemphasis_of": f"What is pre-emphasised: {_any_of('preemphasis_of')} (the clip without its first sample).",
    "n_fft": "Samples of the transform.",
    "hop_length": "Samples from frame to frame.",
    "win_length": "Samples of the window, or none for n_fft.",
    "window": f"One of {_any_of('window')}.",
    "periodic": "Whether the window is periodic, or else symmetric.",
    "align": "Where the window stands in n_fft samples: center or left.",
    "center": "Centre frame t on sample t * hop_length.",
    "padding": "Samples before and after the clip, as 200,40; the second may be negative. none: as --center says.",
    "pad_mode": "Padding: constant (zeros, as librosa today), reflect (as librosa before 0.10) or symmetric (Kaldi).",
    "power": "1 for magnitude, 2 for power.",
    "bin_offset": "Added to the power of each bin.",
    "n_mels": "Mel bands.",
    "fmin": "Lower edge of the lowest band, Hz.",
    "fmax": "Upper edge of the highest band, Hz, or none for sr / 2.",
    "htk": "HTK's mel scale instead of Slaney's.",
    "norm": "Norm of each band: slaney, none, inf or a number.",
    "triangles": "Where the filters' sides are straight: hz, mel, or left (in Hz, the right side as wide as the left).",
    "offset": "Added to mel values.",
    "log": "The logarithm: db, ln, log10 or none.",
    "ref": "The power that reads 0 dB.",
    "amin": "The smallest power.",
    "top_db": "dB kept below each clip's maximum, or none.",
    "normalize": """Statistics of each clip, as '{"per": "band", "ddof": 1, "eps": 1e-5}', or none.""",
    "mean": "Subtracted: a number, or one for each band with commas between them.",
    "std": "Divided by: a number, or one for each band with commas between them.",
    "time_major": "Features as [n_frames, n_rows].",
    "n_mfcc": "Cepstral coefficients.",
    "lifter": "Cepstral liftering; 0 for none.",
    "lifter_from": "Number of the first coefficient in the lifter: 1 as librosa, 0 as Kaldi.",
}


NORMALIZE = """give an object such as '{"per": "band", "eps": 1e-5}', or none"""
KINDS = {"padding": "LEFT,RIGHT", "normalize": "JSON", "mean": "NUMBER(S)", "std": "NUMBER(S)"}  # what an option takes


class ManyValues(Command):
    """A command whose list options take any number of values, as in ``--calibration a b c``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat a list option before each of its values; a positional argument may stand behind them."""
        options = [p for p in self.params if isinstance(p, TyperOption)]
        many = {name for p in options if p.multiple for name in p.opts}
        valued = {name for p in options if not p.is_flag for name in p.opts}
        missing = sum(not isinstance(p, TyperOption) and p.required for p in self.params)
        spread: list[str] = []
        taker: str | None = None  # the list option whose values are being read
        last: list[int] = []  # positions of that option's values in `spread`
        idle = False  # whether that option has no value yet
        rest = iter(args)
        for token in rest:
            if token == "--":
                spread += [token, *rest]
                missing = 0
            elif token.startswith("-") and token != "-":
                spread += [taker] if taker and idle else []  # the parser says what is wrong
                name, equals, _ = token.partition("=")
                taker = name if name in many and not equals else None
                idle = taker is not None
                last = [] if taker else last
                if taker is None:
                    spread += [token, *(islice(rest, 1) if name in valued and not equals else ())]
            elif taker is not None:
                last.append(len(spread))
                idle = False
                spread += [taker, token]
            else:
                missing -= 1
                spread.append(token)
        spread += [taker] if taker and idle else []
        for place in last[1:][::-1][: max(0, missing)]:
            del spread[place]
        return super().parse_args(ctx, spread)


def feature_options(default_preset: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `cfg` by ``--preset`` and an option per field of `FeatureConfig`.

    Without a `default_preset` the command receives a function that turns a model's own config into what the user named.
    A field that the command has as a parameter of its own is left to it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        parameters = [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]
        taken = {p.name for p in parameters}
        options = [_preset(default_preset), *(_option(f) for f in fields(FeatureConfig) if f.name not in taken)]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            changes = {name: values.pop(name) for name in HELP if name not in taken}
            preset = values.pop("preset")
            command(**values, cfg=_config(preset, default_preset, changes))

        parameters = [p for p in parameters if p.name != "cfg"] + options
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        del run.__wrapped__
        return run

    return decorate


def _preset(default: str | None) -> inspect.Parameter:
    shown = f"Feature preset: {', '.join(PRESETS)}."
    annotation = Annotated[str | None, typer.Option(help=shown, rich_help_panel="Features")]
    return inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(field: Field) -> inspect.Parameter:
    flag = f"--{field.name.replace('_', '-')}"
    if field.type == "bool":
        flag += flag.replace("--", "/--no-")
        annotation = Annotated[bool | None, typer.Option(flag, help=_help(field), rich_help_panel="Features")]
    else:
        kind = KINDS.get(field.name, "WORD" if field.name in (*CHOICES, "norm") else "NUMBER")
        option = typer.Option(flag, help=_help(field), rich_help_panel="Features", metavar=kind)
        annotation = Annotated[str | None, option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(field: Field) -> str:
    return HELP[field.name].replace("[", "\\[")  # brackets would be markup


Expectation = Callable[[FeatureConfig], FeatureConfig]  # turns a model's own config into the one that the user named


def _config(preset: str | None, default: str | None, values: dict[str, Any]) -> FeatureConfig | Expectation:
    changes = {name: _parse(name, value) for name, value in values.items() if value is not None}
    name = preset or default
    if name is None:
        return lambda cfg: cfg.replace(**changes)
    if name not in PRESETS:
        from difflib import get_close_matches

        meant = "".join(f"did you mean {close}? It " for close in get_close_matches(name, PRESETS, 1))
        raise CumelError(f"--preset {name}: {meant}must be one of {', '.join(PRESETS)}")
    named = PRESETS[name].replace(**changes)
    return named if default else lambda _: named


def _parse(name: str, text: Any) -> Any:
    """Read an option's text as its field's type; `FeatureConfig` checks the value."""
    if isinstance(text, bool):
        return text
    if text.lower() == "none":
        return None
    if name in CHOICES:
        return text
    if name == "normalize":
        try:
            value = json.loads(text)
        except ValueError as error:
            raise CumelError(f"--normalize {text}: not JSON ({error}); {NORMALIZE}") from None
        if not isinstance(value, dict):
            raise CumelError(f"--normalize {text}: {NORMALIZE}")
        return value
    if "," in text:
        return tuple(_parse(name, part.strip()) for part in text.split(","))
    if name == "norm" and text in ("slaney", "inf"):
        return text
    try:
        return int(text) if text.removeprefix("-").isdecimal() else float(text)
    except ValueError:
        whole = "whole " if name in WHOLE else ""
        raise CumelError(f"--{name.replace('_', '-')} {text}: must be a {whole}number") from None
