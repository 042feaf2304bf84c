"""How packages other than transformers and Kaldi's compute front ends; `originals` has the list of all."""

import importlib
import importlib.util
import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Compute = Callable[[NDArray[np.float32]], NDArray[Any]]  # a clip to features, in the layout of the preset
Batch = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]  # clips [n_clips, n_samples] to the features of each


def array(x: Any) -> NDArray[Any]:
    """Return a tensor or array as an array."""
    return x.detach().numpy() if torch.is_tensor(x) else np.asarray(x)


def torchlibrosa() -> Batch:
    """Build torchlibrosa's, as PANNs use it."""
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrum, filters = Spectrogram(1024, 320), LogmelFilterBank(32000, 1024, 64, 50, 14000, top_db=None)
    return lambda ys: array(filters(spectrum(torch.from_numpy(ys))))[:, 0].swapaxes(1, 2)


def openai(n_mels: int) -> Callable[[], Compute]:
    """Return what builds openai-whisper's. It takes batches as well, but with one floor for all clips."""

    def make() -> Compute:
        audio = importlib.import_module("whisper.audio")
        return lambda y: array(audio.log_mel_spectrogram(y, n_mels))

    return make


def faster(n_mels: int) -> Callable[[], Compute]:
    """Return what builds faster-whisper's."""

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


def lhotse() -> Batch:
    """Build lhotse's."""
    from lhotse.features.kaldi.layers import Wav2LogFilterBank

    layer = Wav2LogFilterBank(num_filters=80, low_freq=20.0, high_freq=-400.0, use_energy=False)
    return lambda ys: array(layer(torch.from_numpy(ys)))


def passt(**options: Any) -> Callable[[], Batch]:
    """Return what builds PaSST's, and with EfficientAT's arguments that one's."""
    return lambda: _augment(**options)


def _augment(**options: Any) -> Batch:
    from hear21passt.models.preprocess import AugmentMelSTFT

    layer, stft = AugmentMelSTFT(**options).eval(), torch.stft

    def real(*arguments: Any, **options: Any) -> Any:  # what torch.stft returned when the package was written
        return torch.view_as_real(stft(*arguments, **(options | {"return_complex": True})))

    def compute(ys: NDArray[np.float32]) -> NDArray[Any]:
        torch.stft = real
        try:
            return array(layer(torch.from_numpy(ys)))
        finally:
            torch.stft = stft

    return compute


def google(offset: float) -> Callable[[], Compute]:
    """Return what builds VGGish's and YAMNet's."""

    def make() -> Compute:
        import sys

        sys.modules.setdefault("resampy", types.ModuleType("resampy"))
        mel = importlib.import_module("torchvggish.mel_features")
        edges = {"num_mel_bins": 64, "lower_edge_hertz": 125, "upper_edge_hertz": 7500}
        return lambda y: mel.log_mel_spectrogram(y, 16000, offset, 0.025, 0.01, **edges)

    return make


def speechbrain() -> Batch:
    """Build speechbrain's."""
    layer = importlib.import_module("speechbrain.lobes.features").Fbank()
    return lambda ys: array(layer(torch.from_numpy(ys)))


def onnx_asr(name: str) -> Callable[[], Batch]:
    """Return what builds one of the graphs of onnx-asr."""

    def make() -> Batch:
        import onnxruntime

        found = find_spec("onnx_asr")
        assert found is not None
        assert found.origin is not None
        file = Path(found.origin).with_name("preprocessors") / "data" / f"{name}.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

        def compute(ys: NDArray[np.float32]) -> NDArray[Any]:
            n_clips, n_samples = ys.shape
            lengths = np.full(n_clips, n_samples, np.int64)
            features = session.run(["features"], {"waveforms": ys, "waveforms_lens": lengths})[0]
            if not name.startswith("nemo"):
                return features
            return features.swapaxes(1, 2)[:, : n_samples // 160]  # its last frame is masked

        return compute

    return make


def espnet() -> Batch:
    """ESPnet's LogMel, as its source has it: torch's STFT, librosa's filters, a floor of 1e-10."""
    import librosa

    filters = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=512, n_mels=80).T.copy())

    def compute(ys: NDArray[np.float32]) -> NDArray[Any]:
        window = torch.hann_window(512)
        x = torch.stft(torch.from_numpy(ys), 512, 128, 512, window, return_complex=True).transpose(1, 2)
        return array(((x.real**2 + x.imag**2) @ filters).clamp(min=1e-10).log())

    return compute


def pop2piano() -> Compute:
    """Build Pop2Piano's, by the functions of transformers that it calls."""
    extractor = importlib.import_module("transformers.audio_utils")
    filters = extractor.mel_filter_bank(2049, 512, 10.0, 11025.0, 22050, norm=None, mel_scale="htk")
    window = np.hanning(4097)[:-1]
    options = {"window": window, "frame_length": 4096, "hop_length": 1024, "power": 2.0, "mel_filters": filters}
    return lambda y: extractor.spectrogram(y, **options).T
