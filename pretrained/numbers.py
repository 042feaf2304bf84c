"""Named values of a configuration file, read as the numbers that they have to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..kernels import CumelError


class Numbers:
    """The values of a file; those that it leaves out have the defaults of the class that would read it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def real(self, name: str, default: float) -> float:
        """Return a finite number."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CumelError(f"{name}={_shown(value)}: must be a number")
        return float(value)

    def whole(self, name: str, default: int) -> int:
        """Return a whole number."""
        value = self.real(name, default)
        if value != int(value):
            raise CumelError(f"{name}={value}: must be a whole number")
        return int(value)

    def frames(self) -> dict[str, int]:
        """Return the sizes of a frame in samples, by default 25 ms in 512 samples every 10 ms at 16 kHz."""
        return {name: self.whole(name, n) for name, n in (("n_fft", 512), ("win_length", 400), ("hop_length", 160))}

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise CumelError(f"{name}={_shown(value)}: must be true or false")
        return value

    def word(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices."""
        value = self.values.get(name, default)
        if value not in choices:
            raise CumelError(f"{name}={_shown(value)}: must be {' or '.join(choices)}")
        return value

    def each(self, name: str, n: int) -> tuple[float, ...] | None:
        """Return a number for each of `n` bands; None where there are none."""
        value = self.values.get(name)
        if value is None:
            return None
        while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
            value = value[0]  # transformers writes such lists with the axes of a batch and of time
        if not isinstance(value, list) or len(value) != n:
            raise CumelError(f"{name}: must be a list of {n} numbers, one for each band")
        return tuple(Numbers({name: number}).real(name, 0.0) for number in value)

    def agree(self, name: str, other: Any) -> None:
        """Refuse a value that contradicts what others of the file say."""
        if name in self.values and self.values[name] != other:
            raise CumelError(
                f"{name}={_shown(self.values[name])}: contradicts the other numbers, which make it {other}"
            )

    def no_noise(self, name: str = "dither", default: float = 0.0) -> None:
        """Refuse dither: it is noise, so that no two computations agree."""
        if self.real(name, default) != 0:
            said = "" if name in self.values else ", the default of this class,"
            raise CumelError(
                f"{name}={self.real(name, default):g}{said} adds noise, so that no two calls agree; set it to 0"
            )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
