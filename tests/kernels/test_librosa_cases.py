"""librosa's own tests, passed by each backend: within our tolerances of librosa in float64 on its own cases."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from itertools import product
from typing import Any

import librosa
import numpy as np
import onnxruntime
import pytest
import torch
from onnxscript import ir

from cumel import kernels as functions
from cumel.export.graph.frontend import standalone
from cumel.kernels import CumelError, FeatureConfig, reference
from cumel.kernels.filterbank import dct_matrix, mel_matrix
from cumel.kernels.tolerance import DB_STEPS

from simt.emulator import compile_many
from support.emulation import Emulated, kernels
from support.librosa_cases import (
    ABSENT,
    AMPLITUDES,
    BAD_CLIPS,
    CASES,
    CLAMPS,
    EXPONENTS,
    FILTERBANKS,
    HOLLOW,
    LEVELS,
    POWERS,
    REFUSED,
    SPECTRA,
    Case,
    impulses,
)
from support.pairwise import cover, running
from support.signals import MFCC_RTOL, Oracle, cufft_slack, librosa_db, librosa_mel

Compute = Callable[[str, np.ndarray, FeatureConfig], np.ndarray]  # one feature of one clip, or of a batch
emulated = Emulated()

# librosa's own bounds or closer ones, each followed by the worst of all backends. Besides, those of `signals` hold; of
# its STFT_ATOL, 6.4e-7 is used: an impulse in 2099 points (Bluestein), CPU.
INVERSE_ATOL = 1e-6  # librosa's, of a chirp that reaches 1; 7.0e-7: 1024 points, blackmanharris, hop 512, emulated
ENERGY_ATOL = 5e-4  # librosa's, of a root mean square of 1; 1.1e-6: 4097 points, CPU
SUM_RTOL = 1e-6  # share of the largest sum; 6.3e-8: CPU
MEL_BACK_RTOL = 1e-4  # share of the loudest mel band, which is 10^(dB / 10); 2.9e-6: CPU
EXACT = 1e-12  # share of the value, or of the largest coefficient; 4.8e-16


class Librosa(Oracle):
    """The checks of `Oracle` with librosa's own values, in float64."""

    @cached_property
    def stft(self) -> np.ndarray:
        return librosa.stft(self.y.astype(np.float64), **self.cfg.librosa_stft())

    @cached_property
    def mel(self) -> np.ndarray:
        return librosa_mel(self.y, self.cfg)

    @cached_property
    def log_mel(self) -> np.ndarray:
        return librosa_db(self.mel, self.cfg)

    def check_mfcc(self, actual: np.ndarray, log_mel: np.ndarray) -> None:
        """Compare with librosa's DCT of the same path's `log_mel`."""
        cfg, S = self.cfg, log_mel.astype(np.float64)
        expected = librosa.feature.mfcc(S=S, n_mfcc=cfg.n_mfcc, lifter=cfg.lifter)
        gain = (1 + cfg.lifter / 2) * np.linalg.norm(S, axis=0).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=MFCC_RTOL * gain)


@cache
def oracles(case: Case, slack: float) -> list[Librosa]:
    """Return one for each channel."""
    return [Librosa(y, case.cfg, slack) for y in np.atleast_2d(case.clip()).astype(np.float32)]


def by_reference(feature: str, y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    if y.ndim == 2:
        return np.stack([by_reference(feature, one, cfg) for one in y])
    if feature == "spectrogram":
        return np.abs(reference.stft(y, cfg)) ** cfg.power
    return getattr(reference, feature)(y, cfg)


def by_cpu(feature: str, y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    return getattr(functions, feature)(y, cfg)


def by_cuda(feature: str, y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    return getattr(functions, feature)(torch.from_numpy(y).cuda(), cfg).cpu().numpy()


@cache
def session(cfg: FeatureConfig, n_samples: int) -> onnxruntime.InferenceSession:
    model = ir.to_proto(standalone(cfg, n_samples)).SerializeToString()
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def by_onnx(feature: str, y: np.ndarray, cfg: FeatureConfig) -> np.ndarray:
    assert feature == "log_mel"
    (out,) = session(cfg.replace(n_mfcc=1, lifter=0.0), y.shape[-1]).run(None, {"waveform": np.atleast_2d(y)})
    return out[:, 0] if y.ndim == 2 else out[0, 0]


BACKENDS: dict[str, Compute] = {
    "reference": by_reference,
    "cpu": by_cpu,
    "emulated": emulated,
    "onnx": by_onnx,
    "cuda": by_cuda,
}
GPU = {"cuda": [pytest.mark.gpu]}
PARAMS = [pytest.param(compute, id=name, marks=GPU.get(name, ())) for name, compute in BACKENDS.items()]
every_backend = pytest.mark.parametrize("compute", PARAMS)


def params() -> Iterator[Any]:
    """Yield every case with each backend that has one of its features.

    By default, every two parameters of a test of librosa's meet in a case, and each of them meets each backend.
    """
    grids = defaultdict(list)
    for case, backend in product(CASES, BACKENDS):
        features = tuple(f for f in case.features if backend != "onnx" or f == "log_mel")
        if features and (backend != "emulated" or case.emulated):
            grids[case.test.partition("[")[0], backend in GPU].append((case, backend, features))
    for (_, on_gpu), grid in grids.items():
        chosen = range(len(grid)) if on_gpu else cover([(*case.parameters, backend) for case, backend, _ in grid])
        for place, (case, backend, features) in enumerate(grid):
            marks = [*GPU.get(backend, ()), *([] if place in chosen else [pytest.mark.exhaustive])]
            yield pytest.param(case, BACKENDS[backend], features, id=f"{case.test}-{backend}", marks=marks)


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Use all processors, once; not where only a GPU's tests are run."""
    if all(item.get_closest_marker("gpu") for item in request.session.items):
        return
    cases = [case for case, compute in running(request, "case", "compute") if compute is emulated]
    every = {kernel for case in cases for kernel in kernels(case.cfg, case.features)}
    magnitude = LEVELS.replace(power=1.0)
    compile_many(every | {kernel for cfg in (LEVELS, magnitude) for kernel in kernels(cfg, ["log_mel"])})


@pytest.mark.parametrize(("case", "compute", "features"), [*params()])
def test_a_case_of_librosas(case: Case, compute: Compute, features: tuple[str, ...]) -> None:
    y = case.clip().astype(np.float32)
    made = {feature: compute(feature, y, case.cfg) for feature in features}
    channels = oracles(case, cufft_slack(case.cfg) if compute is by_cuda else 1.0)
    for i, oracle in enumerate(channels):
        ours = {feature: out if y.ndim == 1 else out[i] for feature, out in made.items()}
        for feature, out in ours.items():
            if feature == "mfcc":
                oracle.check_mfcc(out, ours["log_mel"])
            else:
                getattr(oracle, {"melspectrogram": "check_mel"}.get(feature, f"check_{feature}"))(out)
        if len(channels) > 1:  # Each channel comes out as alone, and they differ.
            for feature, out in ours.items():
                np.testing.assert_array_equal(out, compute(feature, oracle.y, case.cfg))
                assert not np.allclose(made[feature][0], made[feature][1])
        if case.holds and len(ours) == len(case.features):
            HOLDS[case.holds](oracle, ours)


def inverts(oracle: Oracle, ours: dict[str, np.ndarray]) -> None:
    """librosa's inverse gives the clip back."""
    cfg, y = oracle.cfg, oracle.y
    back = librosa.istft(
        ours["stft"].astype(np.complex128), hop_length=cfg.hop_length, window=cfg.window, length=len(y)
    )
    np.testing.assert_allclose(back, y, rtol=0, atol=INVERSE_ATOL)


def keeps_energy(oracle: Oracle, ours: dict[str, np.ndarray]) -> None:
    """The root mean square of a frame is that of its spectrum."""
    cfg = oracle.cfg
    length, hop = cfg.n_fft, cfg.hop_length
    spectrum = librosa.feature.rms(S=np.abs(ours["stft"]), frame_length=length, hop_length=hop)
    samples = librosa.feature.rms(y=oracle.y, frame_length=length, hop_length=hop, center=cfg.center)
    np.testing.assert_allclose(spectrum, samples, rtol=0, atol=ENERGY_ATOL)


def starts_with_the_sum(oracle: Oracle, ours: dict[str, np.ndarray]) -> None:
    """The first coefficient is the same share of every frame's sum."""
    cfg, total = oracle.cfg, ours["log_mel"].sum(axis=0, dtype=np.float64)
    share = dct_matrix(cfg)[0, 0]
    np.testing.assert_allclose(ours["mfcc"][0], share * total, rtol=SUM_RTOL, atol=SUM_RTOL * np.abs(total).max())


def leads_back(oracle: Oracle, ours: dict[str, np.ndarray]) -> None:
    """librosa's inverse of ours is a mel spectrogram, and that of its own coefficients."""
    cfg = oracle.cfg
    theirs = librosa.feature.mfcc(S=oracle.log_mel, n_mfcc=cfg.n_mfcc, lifter=cfg.lifter)
    if cfg.lifter == 2:  # the sine of its second coefficient is 0, in librosa's test as well
        theirs, ours = theirs[:1], {"mfcc": ours["mfcc"][:1]}
    options = {"n_mels": cfg.n_mels, "lifter": cfg.lifter}
    expected, back = (librosa.feature.inverse.mfcc_to_mel(m.astype(float), **options) for m in (theirs, ours["mfcc"]))
    assert back.shape == oracle.mel.shape
    assert (back >= 0).all()
    np.testing.assert_allclose(back, expected, rtol=MEL_BACK_RTOL, atol=MEL_BACK_RTOL * expected.max())


HOLDS = {f.__name__: f for f in (inverts, keeps_energy, starts_with_the_sum, leads_back)}


@pytest.mark.pairwise
@every_backend
@pytest.mark.parametrize(("amin", "top_db"), CLAMPS)
def test_power_to_db(amin: float, top_db: float | None, compute: Compute) -> None:
    cfg = LEVELS.replace(amin=amin, top_db=top_db)
    ours = compute("log_mel", impulses(POWERS, cfg.n_fft), cfg)
    expected = librosa.power_to_db(POWERS, amin=amin, top_db=top_db)
    np.testing.assert_allclose(ours, np.tile(expected, (cfg.n_mels, 1)), rtol=0, atol=DB_STEPS)
    assert top_db is None or ours.min() >= ours.max() - top_db


@every_backend
@pytest.mark.parametrize("erp", EXPONENTS)
def test_power_to_db_inv(erp: int, compute: Compute) -> None:
    cfg = LEVELS.replace(ref=10.0**erp, top_db=None)
    ours = compute("log_mel", impulses(10.0 ** np.array(EXPONENTS), cfg.n_fft), cfg)
    for k, db in zip(EXPONENTS, ours.T, strict=True):
        np.testing.assert_allclose(db, 10 * (k - erp), rtol=0, atol=DB_STEPS)


@every_backend
def test_amplitude_to_db(compute: Compute) -> None:
    y = impulses(AMPLITUDES**2, LEVELS.n_fft)
    of_power, of_amplitude = (compute("log_mel", y, LEVELS.replace(power=p, top_db=None)) for p in (2.0, 1.0))
    np.testing.assert_allclose(of_amplitude, of_power, rtol=0, atol=DB_STEPS)
    expected = librosa.amplitude_to_db(AMPLITUDES, top_db=None)
    np.testing.assert_allclose(of_amplitude, np.tile(expected, (LEVELS.n_mels, 1)), rtol=0, atol=DB_STEPS)


@pytest.mark.parametrize("S", SPECTRA.values(), ids=SPECTRA)
def test_melspectrogram_of_a_spectrogram(S: np.ndarray) -> None:
    cfg = FeatureConfig(n_fft=2 * (len(S) - 1), n_mels=64)
    expected = librosa.feature.melspectrogram(S=S, sr=cfg.sr, n_mels=cfg.n_mels, dtype=np.float64)
    np.testing.assert_allclose(mel_matrix(cfg) @ S, expected, rtol=EXACT)


@pytest.mark.parametrize("lifter", [0.0, 13.0])
def test_mfcc_of_a_spectrogram(lifter: float) -> None:
    """test_features.py::test_mfcc itself: S has one frame."""
    S = librosa.power_to_db(np.random.default_rng(3).standard_normal((128, 1)) ** 2, ref=np.max)
    for n_mfcc in (13, 20):
        ours = dct_matrix(FeatureConfig(n_mfcc=n_mfcc, lifter=lifter)) @ S
        expected = librosa.feature.mfcc(S=S, dct_type=2, norm="ortho", n_mfcc=n_mfcc, lifter=lifter)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=EXACT * np.abs(expected).max())


@pytest.mark.parametrize("compute", [param for param in PARAMS if param.id != "onnx"])
def test_more_coefficients_leave_the_first_as_they_are(compute: Compute) -> None:
    y = impulses(AMPLITUDES[:9], 1024)
    few, many = (compute("mfcc", y, LEVELS.replace(n_mfcc=n)) for n in (13, 40))
    np.testing.assert_allclose(few, many[:13], rtol=0, atol=MFCC_RTOL * np.abs(many).max())


@pytest.mark.parametrize(("fields", "rule"), [pytest.param(*how, id=test) for test, *how in REFUSED])
def test_what_a_config_cannot_say(fields: dict[str, Any], rule: str) -> None:
    with pytest.raises(CumelError) as caught:
        FeatureConfig.from_dict(fields)
    assert rule in str(caught.value)
    assert str(caught.value).startswith(next(iter(fields)))


@pytest.mark.parametrize(("cfg", "y", "said"), [pytest.param(*how, id=test) for test, *how in BAD_CLIPS])
def test_what_is_no_clip(cfg: FeatureConfig, y: Any, said: str) -> None:
    for feature in ("log_mel", "mfcc", "mel_image"):
        with pytest.raises(CumelError, match=said):
            by_cpu(feature, y, cfg)


@pytest.mark.parametrize("cfg", HOLLOW, ids=lambda cfg: f"{cfg.sr}-{cfg.n_fft}-{cfg.n_mels}-{cfg.fmax}-{cfg.htk}")
def test_a_filter_without_a_bin_is_named_and_reads_zero(cfg: FeatureConfig) -> None:
    with pytest.warns(UserWarning, match="filters have no bin in them, filter .+ and read silence; use "):
        matrix = mel_matrix.__wrapped__(cfg)  # past the cache: its second answer has no warning
    stated = {name: getattr(cfg, name) for name in ("sr", "n_fft", "n_mels", "fmin", "fmax", "htk", "norm")}
    with pytest.warns(UserWarning, match="Empty filters"):
        expected = librosa.filters.mel(**stated, dtype=np.float64)
    np.testing.assert_allclose(matrix, expected, rtol=EXACT)


def test_a_few_filterbanks_are_hollow() -> None:
    assert (len(FILTERBANKS), len(HOLLOW)) == (144, 34)


def test_what_we_do_not_have() -> None:
    """With such a function, its tests of librosa's become cases."""
    for name in ABSENT:
        assert not hasattr(functions, name)
        assert any(hasattr(module, name) for module in (librosa, librosa.feature, librosa.feature.inverse))
