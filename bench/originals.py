"""The front ends of pretrained models as their own packages compute them, by the names of our presets.

A package is imported when it is first used. Those that the tests do not install are in the golden arrays of
tests/pretrained, which tests/support/golden.py makes of them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cumel.kernels import PRESETS, FeatureConfig

from other_packages import (
    Batch,
    Compute,
    array,
    espnet,
    faster,
    google,
    lhotse,
    onnx_asr,
    openai,
    passt,
    pop2piano,
    speechbrain,
    torchlibrosa,
)

# Both sides round float32 samples, spectra and logarithms. In natural logarithms, each with the largest that was seen.
MOST = 6e-3  # 4.2e-3: kaldi_no_snip, kaldi-native-fbank, a band 70 dB below the others in a quiet frame
MEDIAN = 1e-5  # 3.8e-6
LINEAR = 1e-5  # share of the largest value, without a logarithm; 4e-6: beside an offset that no filter hears


@dataclass(frozen=True)
class Peer:
    """A package's own computation of a preset's features."""

    preset: str
    package: str  # its name on PyPI
    module: str  # what is imported of it
    make: Callable[[], Compute]
    note: str  # the class or function
    batch: Callable[[], Batch] | None = None  # None where it takes one clip at a time

    @property
    def name(self) -> str:
        """Name package and version."""
        return f"{self.package} {version(self.package)}"

    @property
    def is_there(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.module.split(".")[0]) is not None


def of(preset: str) -> list[Peer]:
    """Return the peers of a preset that are installed."""
    return [peer for peer in (*LIVE, *OTHERS) if peer.preset == preset and peer.is_there]


def differences(theirs: NDArray[Any], features: NDArray[Any], preset: str) -> tuple[float, float]:
    """Return the largest and the median difference of a clip's features from a peer's, in a front end's own values.

    Raises
    ------
    ValueError
        For features of another shape.
    """
    if preset == "granite":  # it drops a last frame that has no other to be stacked with
        features = features[: len(theirs)]
    if theirs.shape != features.shape:
        raise ValueError(f"shape {theirs.shape}, where ours is {features.shape}")
    error = np.abs(theirs.astype(np.float64) - features)
    return float(error.max()), float(np.median(error))


def limits(cfg: FeatureConfig, features: NDArray[Any]) -> tuple[float, float]:
    """Return the largest and the median difference that rounding explains, in a front end's own values."""
    if cfg.log:
        in_values = cfg.levels.gain / np.log(10)
        return MOST * in_values, MEDIAN * in_values
    peak = LINEAR * max(1.0, float(np.abs(features).max()))
    return peak, peak / 10


def _many(preset: str, package: str, module: str, batch: Callable[[], Batch], note: str) -> Peer:
    def make() -> Compute:
        compute = batch()
        return lambda y: compute(y[None])[0]

    return Peer(preset, package, module, make, note, batch)


@cache
def extractor_of(module: str, name: str, **options: Any) -> Any:
    """Make a feature extractor of transformers."""
    found = importlib.import_module(f"transformers.models.{module}.feature_extraction_{module}")
    return getattr(found, name)(**options)


# How an extractor is called for the features of clips as they are: without padding, noise or targets of another kind.
CALLS: dict[str, Callable[[list[NDArray[np.float32]]], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "WhisperFeatureExtractor": lambda ys: ((ys,), {"padding": "longest", "truncation": False}),
    "SpeechT5FeatureExtractor": lambda ys: ((), {"audio_target": ys}),
    "UnivNetFeatureExtractor": lambda ys: ((ys,), {"return_noise": False}),
    "ClvpFeatureExtractor": lambda ys: ((ys,), {"max_length": len(ys[0])}),
    "Gemma3nAudioFeatureExtractor": lambda ys: ((ys,), {"pad_to_multiple_of": None}),
    "Gemma4AudioFeatureExtractor": lambda ys: ((ys,), {"pad_to_multiple_of": None}),
}


def _hf(preset: str, module: str, name: str, key: str = "input_features", **options: Any) -> Peer:
    cfg = PRESETS[preset]

    def make() -> Batch:
        extractor = extractor_of(module, name, **options)
        calls = extractor.__call__.__code__.co_varnames
        rate = {"sampling_rate": cfg.sr} if "sampling_rate" in calls else {}
        call = CALLS.get(name, lambda ys: ((ys,), {}))

        def compute(ys: NDArray[np.float32]) -> list[NDArray[Any]]:
            # Statistics of silence are 0 / 0 there, and a warning.
            with np.errstate(invalid="ignore", divide="ignore"):
                arguments, given = call(list(ys))
                found = extractor(*arguments, **given, **rate)[key]
            n_frames, n_bands = cfg.n_frames(ys.shape[1]), cfg.n_mels
            clips = (array(features) for features in found)
            if cfg.time_major:  # pairs of frames may be stacked, and clips padded or doubled
                return [features.reshape(-1, n_bands)[:n_frames] for features in clips]
            return [features[:, :n_frames] for features in clips]

        return compute

    return _many(preset, "transformers", "transformers", make, name)


def _kaldis(preset: str, cmn: bool = False, **options: Any) -> Peer:
    cfg = PRESETS[preset]

    def make() -> Compute:
        from torchaudio.compliance import kaldi

        def compute(y: NDArray[np.float32]) -> NDArray[Any]:
            x = torch.from_numpy(y * np.float32(cfg.scale))[None]
            features = kaldi.fbank(x, num_mel_bins=cfg.n_mels, sample_frequency=cfg.sr, **options)
            if cmn:
                features = features - features.mean(0)
            return ((features - cfg.mean) / cfg.std).numpy()

        return compute

    return Peer(preset, "torchaudio", "torchaudio", make, "compliance.kaldi.fbank")


def _native(preset: str, **options: Any) -> Peer:
    cfg = PRESETS[preset]

    def make() -> Compute:
        import kaldi_native_fbank as knf

        settings = knf.FbankOptions()
        settings.frame_opts.dither, settings.energy_floor, settings.mel_opts.num_bins = 0.0, 0.0, cfg.n_mels
        settings.frame_opts.snip_edges = options.get("snip_edges", True)
        settings.mel_opts.high_freq = options.get("high_freq", 0.0)

        def compute(y: NDArray[np.float32]) -> NDArray[Any]:
            online = knf.OnlineFbank(settings)
            online.accept_waveform(cfg.sr, y)
            online.input_finished()
            return np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])

        return compute

    return Peer(preset, "kaldi-native-fbank", "kaldi_native_fbank", make, "OnlineFbank")


LIVE = (  # installed with the tests
    _hf("whisper", "whisper", "WhisperFeatureExtractor"),
    _hf("whisper128", "whisper", "WhisperFeatureExtractor", feature_size=128),
    _hf("voxtral_realtime", "voxtral_realtime", "VoxtralRealtimeFeatureExtractor"),
    _kaldis("kaldi"),
    _native("kaldi"),
    _kaldis("kaldi_no_snip", snip_edges=False, high_freq=-400.0),
    _native("kaldi_no_snip", snip_edges=False, high_freq=-400.0),
    _hf("speech2text", "speech_to_text", "Speech2TextFeatureExtractor"),
    _hf("seamless", "seamless_m4t", "SeamlessM4TFeatureExtractor"),
    _kaldis("wespeaker", cmn=True, window_type="hamming"),
    _kaldis("wespeaker_raw", window_type="hamming"),
    _kaldis("funasr", window_type="hamming"),
    _hf("ast", "audio_spectrogram_transformer", "ASTFeatureExtractor", "input_values"),
    _kaldis("beats"),
    _hf("parakeet", "parakeet", "ParakeetFeatureExtractor"),
    _hf("parakeet128", "parakeet", "ParakeetFeatureExtractor", feature_size=128),
    _hf("nemotron_streaming", "nemotron_asr_streaming", "NemotronAsrStreamingFeatureExtractor"),
    _hf("phi4", "phi4_multimodal", "Phi4MultimodalFeatureExtractor", "audio_input_features"),
    _hf("lasr", "lasr", "LasrFeatureExtractor"),
    _hf("gemma3n", "gemma3n", "Gemma3nAudioFeatureExtractor"),
    _hf("gemma4", "gemma4", "Gemma4AudioFeatureExtractor"),
    _hf("granite", "granite_speech", "GraniteSpeechFeatureExtractor"),
    _hf("inkling", "inkling", "InklingFeatureExtractor"),
    _hf("clap", "clap", "ClapFeatureExtractor", truncation="rand_trunc"),
    _hf("clap_fused", "clap", "ClapFeatureExtractor"),
    _hf("speecht5", "speecht5", "SpeechT5FeatureExtractor", "input_values"),
    _hf("univnet", "univnet", "UnivNetFeatureExtractor"),
    _hf("clvp", "clvp", "ClvpFeatureExtractor"),
    Peer("pop2piano", "transformers", "transformers", pop2piano, "Pop2PianoFeatureExtractor"),
    _many("panns", "torchlibrosa", "torchlibrosa", torchlibrosa, "LogmelFilterBank"),
    _many("espnet", "librosa", "librosa", espnet, "the lines of ESPnet's LogMel"),
)
OTHERS = (  # in golden arrays
    Peer("whisper", "openai-whisper", "whisper", openai(80), "log_mel_spectrogram"),
    Peer("whisper128", "openai-whisper", "whisper", openai(128), "log_mel_spectrogram"),
    Peer("whisper", "faster-whisper", "faster_whisper", faster(80), "FeatureExtractor, padding=0"),
    _many("kaldi_no_snip", "lhotse", "lhotse", lhotse, "Wav2LogFilterBank"),
    _many("parakeet", "onnx-asr", "onnx_asr", onnx_asr("nemo80_conv"), "nemo80_conv.onnx"),
    _many("gigaam", "onnx-asr", "onnx_asr", onnx_asr("gigaam_v2_conv"), "gigaam_v2_conv.onnx"),
    _many("wespeaker_raw", "onnx-asr", "onnx_asr", onnx_asr("wespeaker"), "wespeaker.onnx"),
    _many("passt", "hear21passt", "hear21passt", passt(), "AugmentMelSTFT"),
    _many("efficientat", "hear21passt", "hear21passt", passt(fmax_aug_range=2000), "AugmentMelSTFT, upper edge 15 kHz"),
    Peer("vggish", "torchvggish", "torchvggish", google(0.01), "mel_features"),
    Peer("yamnet", "torchvggish", "torchvggish", google(0.001), "mel_features with YAMNet's offset"),
    _many("speechbrain", "speechbrain", "speechbrain", speechbrain, "Fbank"),
)
