"""What an installation with NumPy alone has to do; a script, as neither pytest nor the tests' helpers are there.

CI runs it in a fresh environment that has the wheel and NumPy; `test_extras.py` in one that it makes itself.
"""

import contextlib
import io
import json
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import cumel
from cumel.esc50.cli import main
from cumel.kernels import native, reference

MISSING = {  # public names, by the extra that has what they need, or what a call of them needs
    "audio": ("load_audio",),
    "extract": ("FeatureDataset", "Store", "extract", "pad"),
    "export": ("Interface", "export_frontend", "export_module", "export_onnx", "write_site"),
    "predict": ("Session", "load", "predict"),
    "torch": ("FrontEnd", "LogMel"),
    "train": ("evaluate", "train"),
}
ARGUMENTS = {"Session": (__file__,), "load": (__file__,), "write_site": (__file__, "site")}
OTHERS = ("torch", "cupy", "onnx", "onnxruntime", "soundfile", "soxr", "pyarrow", "matplotlib", "typer", "rich")
CONFIGS = (
    cumel.PRESETS["esc50"],
    cumel.FeatureConfig(sr=16000, n_fft=600, hop_length=160, n_mels=40, pad_mode="reflect"),
)


def fault(action) -> str:
    try:
        action()
    except (cumel.CumelError, ImportError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def check_features() -> None:
    y = np.random.default_rng(0).normal(0, 0.1, (2, 30000)).astype(np.float32)
    for cfg in CONFIGS:
        for name in ("stft", "log_mel", "mfcc"):
            features = getattr(cumel, name)(y, cfg, lengths=[30000, 9000])
            for clip, n_samples in zip(features, (30000, 9000), strict=True):
                expected = getattr(reference, name)(y[0 if n_samples == 30000 else 1, :n_samples], cfg)
                np.testing.assert_allclose(clip[:, : cfg.n_frames(n_samples)], expected, rtol=0, atol=2e-3)


def check_names() -> None:
    extras = {name: extra for extra, names in MISSING.items() for name in names}
    assert extras.keys() <= set(cumel.__all__)
    for name in cumel.__all__:
        said = fault(lambda name=name: name in extras and getattr(cumel, name)(*ARGUMENTS.get(name, ())))
        expected = f"pip install 'cumel[{extras.get(name)}]'"
        assert name not in extras or (said.startswith("MissingExtraError: ") and said.endswith(expected)), (name, said)
        assert "\n" not in said
        assert name in extras or fault(lambda name=name: getattr(cumel, name)) == "no error", name


def check_calls() -> None:
    y, cfg = np.zeros(16000, np.float32), CONFIGS[0]
    torch = "MissingExtraError: torch is not installed: pip install"
    assert fault(lambda: cumel.log_mel(y, cfg, device="cuda")) == f"{torch} 'cumel[gpu]'"
    assert fault(lambda: cumel.log_mel(y, cfg, device="cuda:1")) == f"{torch} 'cumel[gpu]'"
    assert fault(lambda: cumel.log_mel([0.0] * 16000, cfg)).startswith("CumelError: y: expected a NumPy or CuPy array")


def check_command() -> None:
    for arguments in (["train", "--data", "data"], ["--help"], ["doctor", "--json"]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        (line,) = err.getvalue().splitlines()
        assert code == 3
        assert line.startswith("cumel: the command line needs more than the features: "), line
        assert line.endswith("is not installed: pip install 'cumel[cli]'"), line
        assert json.loads(out.getvalue() or '{"exit_code": 3}')["exit_code"] == 3


def check_files() -> None:
    """The kernels' sources are there: CuPy compiles them on a GPU machine."""
    kernels = Path(native.__file__).parent
    sources = {path.name for pattern in ("*.cu", "*.cuh", "simd/*.cc", "simd/*.h") for path in kernels.glob(pattern)}
    assert {"fused.cu", "generic.cu", "mfcc.cu", "fft.cuh", "features.cc", "vectors.h"} <= sources, sources
    assert "--compiled" not in sys.argv or native.available(), native.reason()


if __name__ == "__main__":
    needed = [text for text in metadata.requires("cumel") or () if "extra ==" not in text]
    assert [text[:5] for text in needed] == ["numpy"], needed
    check_features()
    check_names()
    check_calls()
    check_command()
    check_files()
    assert [name for name in OTHERS if name in sys.modules or find_spec(name)] == []
    computed_by = native.target() if native.available() else "NumPy's FFT"
    print(f"NumPy {np.__version__} alone: features by {computed_by}, errors of one line")
