"""The front ends of pretrained models as their own packages compute them, by the names of our presets.

A package is imported when it is first used. Those that the tests do not install are in the golden arrays of
tests/pretrained, which `golden.py` there makes of them.
"""

import importlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cumel.kernels import PRESETS

Compute = Callable[[NDArray[np.float32]], NDArray[Any]]  # a clip to features, in the layout of the preset


@dataclass(frozen=True)
class Peer:
    """A package's own computation of a preset's features."""

    preset: str
    package: str  # its name on PyPI
    module: str  # what is imported of it
    make: Callable[[], Compute]
    note: str  # the class or function

    @property
    def name(self) -> str:
        """Name package and version."""
        return f"{self.package} {version(self.package)}"

    @property
    def is_there(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.module.split(".")[0]) is not None


def _array(x: Any) -> NDArray[Any]:
    return x.detach().numpy() if torch.is_tensor(x) else np.asarray(x)


@cache
def _extractor(module: str, name: str, **options: Any) -> Any:
    found = importlib.import_module(f"transformers.models.{module}.feature_extraction_{module}")
    return getattr(found, name)(**options)


# How an extractor is called for the features of a clip as it is: without padding, noise or targets of another kind.
CALLS: dict[str, Callable[[NDArray[np.float32]], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "WhisperFeatureExtractor": lambda y: ((y,), {"padding": "longest", "truncation": False}),
    "SpeechT5FeatureExtractor": lambda y: ((), {"audio_target": y}),
    "UnivNetFeatureExtractor": lambda y: ((y,), {"return_noise": False}),
    "ClvpFeatureExtractor": lambda y: ((y,), {"max_length": len(y)}),
    "Gemma3nAudioFeatureExtractor": lambda y: (([y],), {"pad_to_multiple_of": None}),
    "Gemma4AudioFeatureExtractor": lambda y: (([y],), {"pad_to_multiple_of": None}),
}


def _hf(preset: str, module: str, name: str, key: str = "input_features", **options: Any) -> Peer:
    cfg = PRESETS[preset]

    def make() -> Compute:
        extractor = _extractor(module, name, **options)
        calls = extractor.__call__.__code__.co_varnames
        rate = {"sampling_rate": cfg.sr} if "sampling_rate" in calls else {}
        call = CALLS.get(name, lambda y: ((y,), {}))

        def compute(y: NDArray[np.float32]) -> NDArray[Any]:
            # Statistics of silence are 0 / 0 there, and a warning.
            with np.errstate(invalid="ignore", divide="ignore"):
                arguments, given = call(y)
                found = extractor(*arguments, **given, **rate)[key][0]
            features = _array(found)
            n_frames, n_bands = cfg.n_frames(len(y)), cfg.n_mels
            if cfg.time_major:  # pairs of frames may be stacked, and clips padded or doubled
                return features.reshape(-1, n_bands)[:n_frames]
            return features[:, :n_frames]

        return compute

    return Peer(preset, "transformers", "transformers", make, name)


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


def _torchlibrosa() -> Compute:
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrum, filters = Spectrogram(1024, 320), LogmelFilterBank(32000, 1024, 64, 50, 14000, top_db=None)
    return lambda y: _array(filters(spectrum(torch.from_numpy(y)[None])))[0, 0].T


def _openai(n_mels: int) -> Callable[[], Compute]:
    def make() -> Compute:
        audio = importlib.import_module("whisper.audio")
        return lambda y: _array(audio.log_mel_spectrogram(y, n_mels))

    return make


def _faster(n_mels: int) -> Callable[[], Compute]:
    def make() -> Compute:
        # Its package imports an engine that features do not need.
        found = find_spec("faster_whisper")
        assert found is not None
        assert found.origin is not None
        path = Path(found.origin).with_name("feature_extractor.py")
        spec = importlib.util.spec_from_file_location("feature_extractor", path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        assert spec.loader is not None
        spec.loader.exec_module(module)
        extractor = module.FeatureExtractor(feature_size=n_mels)
        return lambda y: extractor(y, padding=0)

    return make


def _lhotse() -> Compute:
    from lhotse.features.kaldi.layers import Wav2LogFilterBank

    layer = Wav2LogFilterBank(num_filters=80, low_freq=20.0, high_freq=-400.0, use_energy=False)
    return lambda y: _array(layer(torch.from_numpy(y)[None]))[0]


def _passt() -> Compute:
    from hear21passt.models.preprocess import AugmentMelSTFT

    layer, stft = AugmentMelSTFT().eval(), torch.stft

    def real(*arguments: Any, **options: Any) -> Any:  # what torch.stft returned when the package was written
        return torch.view_as_real(stft(*arguments, **(options | {"return_complex": True})))

    def compute(y: NDArray[np.float32]) -> NDArray[Any]:
        torch.stft = real
        try:
            return _array(layer(torch.from_numpy(y)[None]))[0]
        finally:
            torch.stft = stft

    return compute


def _google(offset: float) -> Callable[[], Compute]:
    def make() -> Compute:
        import sys

        sys.modules.setdefault("resampy", types.ModuleType("resampy"))
        mel = importlib.import_module("torchvggish.mel_features")
        edges = {"num_mel_bins": 64, "lower_edge_hertz": 125, "upper_edge_hertz": 7500}
        return lambda y: mel.log_mel_spectrogram(y, 16000, offset, 0.025, 0.01, **edges)

    return make


def _speechbrain() -> Compute:
    layer = importlib.import_module("speechbrain.lobes.features").Fbank()
    return lambda y: _array(layer(torch.from_numpy(y)[None]))[0]


def _onnx_asr(name: str) -> Callable[[], Compute]:
    def make() -> Compute:
        import onnxruntime

        found = find_spec("onnx_asr")
        assert found is not None
        assert found.origin is not None
        file = Path(found.origin).with_name("preprocessors") / "data" / f"{name}.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

        def compute(y: NDArray[np.float32]) -> NDArray[Any]:
            lengths = np.array([len(y)], np.int64)
            features = session.run(["features"], {"waveforms": y[None], "waveforms_lens": lengths})[0][0]
            return features.T[: len(y) // 160] if name.startswith("nemo") else features  # NeMo's last frame is masked

        return compute

    return make


def _espnet() -> Compute:
    """ESPnet's LogMel, as its source has it: torch's STFT, librosa's filters, a floor of 1e-10."""
    import librosa

    filters = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=512, n_mels=80).T.copy())

    def compute(y: NDArray[np.float32]) -> NDArray[Any]:
        window = torch.hann_window(512)
        x = torch.stft(torch.from_numpy(y)[None], 512, 128, 512, window, return_complex=True).transpose(1, 2)
        return _array(((x.real**2 + x.imag**2) @ filters).clamp(min=1e-10).log()[0])

    return compute


def _pop2piano() -> Compute:
    extractor = importlib.import_module("transformers.audio_utils")
    filters = extractor.mel_filter_bank(2049, 512, 10.0, 11025.0, 22050, norm=None, mel_scale="htk")
    window = np.hanning(4097)[:-1]
    options = {"window": window, "frame_length": 4096, "hop_length": 1024, "power": 2.0, "mel_filters": filters}
    return lambda y: extractor.spectrogram(y, **options).T


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
    Peer("pop2piano", "transformers", "transformers", _pop2piano, "Pop2PianoFeatureExtractor"),
    Peer("panns", "torchlibrosa", "torchlibrosa", _torchlibrosa, "LogmelFilterBank"),
    Peer("espnet", "librosa", "librosa", _espnet, "the lines of ESPnet's LogMel"),
)
OTHERS = (  # in golden arrays
    Peer("whisper", "openai-whisper", "whisper", _openai(80), "log_mel_spectrogram"),
    Peer("whisper128", "openai-whisper", "whisper", _openai(128), "log_mel_spectrogram"),
    Peer("whisper", "faster-whisper", "faster_whisper", _faster(80), "FeatureExtractor, padding=0"),
    Peer("kaldi_no_snip", "lhotse", "lhotse", _lhotse, "Wav2LogFilterBank"),
    Peer("parakeet", "onnx-asr", "onnx_asr", _onnx_asr("nemo80_conv"), "nemo80_conv.onnx"),
    Peer("gigaam", "onnx-asr", "onnx_asr", _onnx_asr("gigaam_v2_conv"), "gigaam_v2_conv.onnx"),
    Peer("wespeaker_raw", "onnx-asr", "onnx_asr", _onnx_asr("wespeaker"), "wespeaker.onnx"),
    Peer("passt", "hear21passt", "hear21passt", _passt, "AugmentMelSTFT"),
    Peer("vggish", "torchvggish", "torchvggish", _google(0.01), "mel_features"),
    Peer("yamnet", "torchvggish", "torchvggish", _google(0.001), "mel_features with YAMNet's offset"),
    Peer("speechbrain", "speechbrain", "speechbrain", _speechbrain, "Fbank"),
)
