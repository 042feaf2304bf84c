"""Makes golden.npz: what packages that the tests do not install compute of `clip`.

Run where all of them are: openai-whisper, faster-whisper, lhotse, onnx-asr, hear21passt, torchvggish, speechbrain.
`python tests/support/golden.py`, with bench/ and tests/ on the path, writes the file anew and prints its versions.
"""

from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parents[1] / "pretrained" / "golden.npz"


def clip(sr: int, seconds: float = 0.4) -> np.ndarray:
    """Return silence, then noise 60 dB below full scale, then a loud sweep, both on a drifting offset."""
    n = int(sr * seconds)
    t, rng = np.arange(n) / sr, np.random.default_rng(11)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 0.2 * sr * t) * t) + 0.05 * rng.standard_normal(n)
    y = np.where(t < 0.5 * seconds, 0.001 * rng.standard_normal(n), sweep) + 0.02 * t
    y[: n // 6] = 0.0
    return y.astype(np.float32)


def main() -> None:
    """Write every array."""
    from cumel.kernels import PRESETS

    from originals import OTHERS

    arrays: dict[str, Any] = {
        f"{peer.preset} {peer.name}": peer.make()(clip(PRESETS[peer.preset].sr)).astype(np.float32) for peer in OTHERS
    }
    np.savez_compressed(FILE, **arrays)
    print(*arrays, f"{FILE.stat().st_size} bytes", sep="\n")


if __name__ == "__main__":
    main()
