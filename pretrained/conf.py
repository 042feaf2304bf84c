"""Kaldi's options files (``fbank.conf``) -> `FeatureConfig`."""

from __future__ import annotations

from typing import Any

from ..kernels import CumelError, FeatureConfig
from .kaldi import fbank_config

KALDI_SCALE = 32768.0  # Kaldi reads recordings as numbers of 16 bits.
TYPES: dict[str, type] = {
    "sample-frequency": float, "frame-length": float, "frame-shift": float, "high-freq": float, "low-freq": float,
    "num-mel-bins": int, "preemphasis-coefficient": float, "remove-dc-offset": bool, "round-to-power-of-two": bool,
    "snip-edges": bool, "subtract-mean": bool, "use-log-fbank": bool, "use-power": bool, "window-type": str,
    "dither": float, "use-energy": bool, "vtln-warp": float, "blackman-coeff": float,
}  # fmt: skip
# What says nothing about the numbers, or of the energy alone, which is refused.
IGNORED = (
    *("energy-floor", "raw-energy", "htk-compat", "min-duration", "channel", "vtln-low", "vtln-high", "debug-mel"),
    *("allow-downsample", "allow-upsample", "max-feature-vectors", "output-format", "verbose", "write-utt2dur"),
)


def config_of(text: str) -> FeatureConfig:
    """Read lines of ``--option=value``; what follows a # is a comment.

    Dither is noise during training: where the file does not ask for it, there is none.

    Raises
    ------
    CumelError
        For an option that `compute-fbank-feats` does not have, and as `fbank_config`.
    """
    options: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.split("#")[0].strip()
        if not bare:
            continue
        name, equals, value = bare.partition("=")
        name = name.strip().removeprefix("--")
        if not bare.startswith("--") or (name not in TYPES and name not in IGNORED):
            known = ", ".join(f"--{option}" for option in TYPES)
            raise CumelError(f"line {number}: {bare[:60]}: must be one of {known}")
        if name in TYPES:
            options[name.replace("-", "_")] = _value(number, name, value.strip() if equals else "true")
    return fbank_config(**options).replace(scale=KALDI_SCALE)


def _value(number: int, name: str, text: str) -> Any:
    kind = TYPES[name]
    if kind is bool:
        if text not in ("true", "false"):
            raise CumelError(f"line {number}: --{name}={text}: must be true or false")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise CumelError(f"line {number}: --{name}={text}: must be a {'whole ' * (kind is int)}number") from None
