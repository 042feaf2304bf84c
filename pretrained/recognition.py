"""Extractors of models that hear: their numbers -> `FeatureConfig`. The defaults are those of their classes."""

from __future__ import annotations

from ..kernels import PRESETS, CumelError, FeatureConfig, Normalize
from .kaldi import WINDOWS, fbank_config
from .numbers import Numbers


def upper_edge(hertz: float, sr: int) -> float | None:
    """Return an upper edge; None, as in the presets, for half the rate."""
    return None if hertz == sr / 2 else hertz


def whisper(n: Numbers, size: int = 80, seconds: int = 30) -> FeatureConfig:
    """OpenAI Whisper, without the last frame."""
    n.no_noise()
    sr, n_fft, hop = n.whole("sampling_rate", 16000), n.whole("n_fft", 400), n.whole("hop_length", 160)
    chunk = n.whole("chunk_length", seconds)
    n.agree("n_samples", chunk * sr)
    n.agree("nb_max_frames", chunk * sr // max(1, hop))
    return PRESETS["whisper"].replace(
        sr=sr,
        n_fft=n_fft,
        hop_length=hop,
        padding=(n_fft // 2, n_fft // 2 - hop),  # without the last frame
        n_mels=n.whole("feature_size", size),
        fmax=upper_edge(8000.0, sr),
    )


def whisper128(n: Numbers) -> FeatureConfig:
    """Qwen3-ASR, whose clips are padded otherwise."""
    return whisper(n, 128)


def dots3(n: Numbers) -> FeatureConfig:
    """Whisper's, in chunks of a minute."""
    return whisper(n, 128, 60)


def voxtral_realtime(n: Numbers) -> FeatureConfig:
    """Whisper's with one floor for all clips, from the loudest value that is expected."""
    n_fft = n.whole("n_fft", 400)
    n.agree("win_length", n_fft)
    cfg = whisper(n, 128)
    if n.values.get("global_log_mel_max", 1.5) is None:
        return cfg
    return cfg.replace(top_db=None, amin=max(1e-10, 10.0 ** (n.real("global_log_mel_max", 1.5) - 8.0)))


def _kaldi(n: Numbers, preset: str, n_mels: int) -> FeatureConfig:
    """Frames of 25 ms every 10 ms, as Kaldi counts them, up to half the rate."""
    n.no_noise()
    sr = n.whole("sampling_rate", 16000)
    length = sr * 25 // 1000
    return PRESETS[preset].replace(
        sr=sr, n_fft=1 << (length - 1).bit_length(), win_length=length, hop_length=sr // 100, n_mels=n_mels
    )


def ast(n: Numbers) -> FeatureConfig:
    """Audio Spectrogram Transformer: Kaldi's at the scale of the samples."""
    cfg = _kaldi(n, "ast", n.whole("num_mel_bins", 128))
    if not n.flag("do_normalize", True):
        return cfg.replace(mean=0.0, std=1.0)
    return cfg.replace(mean=n.real("mean", -4.2677393), std=2.0 * n.real("std", 4.5689974))


def speech2text(n: Numbers) -> FeatureConfig:
    """Kaldi's, with statistics of each band."""
    n_mels = n.whole("num_mel_bins", 80)
    n.agree("feature_size", n_mels)
    cfg = _kaldi(n, "speech2text", n_mels)
    means, deviations = n.flag("normalize_means", True), n.flag("normalize_vars", True)
    if not n.flag("do_ceptral_normalize", True) or not (means or deviations):
        return cfg.replace(normalize=None)
    if not means:
        raise CumelError("normalize_means=false with normalize_vars=true: deviations about no mean are not supported")
    return cfg.replace(normalize=Normalize(variance=deviations))


def seamless(n: Numbers) -> FeatureConfig:
    """SeamlessM4T and w2v-BERT 2; pairs of frames are stacked afterwards."""
    n_mels = n.whole("num_mel_bins", 80)
    n.agree("feature_size", n_mels)
    sr = n.whole("sampling_rate", 16000)
    # Its frames have 400 samples every 160 at any rate.
    return _kaldi(n, "seamless", n_mels).replace(sr=sr, n_fft=512, win_length=400, hop_length=160)


def fun_asr(n: Numbers) -> FeatureConfig:
    """Fun-ASR-Nano; seven frames are stacked afterwards."""
    return fbank_config(
        sample_frequency=n.real("sampling_rate", 16000),
        frame_length=n.real("frame_length", 25),
        frame_shift=n.real("frame_shift", 10),
        num_mel_bins=n.whole("feature_size", 80),
        window_type=n.word("window", "hamming", tuple(WINDOWS)),
    )


def parakeet(n: Numbers, preset: str = "parakeet", size: int = 80) -> FeatureConfig:
    """NVIDIA NeMo's."""
    n.no_noise()
    frames = n.frames()
    half = frames["n_fft"] // 2
    return PRESETS[preset].replace(
        sr=n.whole("sampling_rate", 16000),
        **frames,
        padding=(half, half - frames["hop_length"]),
        preemphasis=n.real("preemphasis", 0.97),
        n_mels=n.whole("feature_size", size),
    )


def cohere(n: Numbers) -> FeatureConfig:
    """NeMo's, with noise by default."""
    n.no_noise(default=1e-5)
    return parakeet(n, "parakeet128", 128)


def nemotron(n: Numbers) -> FeatureConfig:
    """NeMo's without statistics, for streams."""
    n.word("mel_filters_dtype", "float32", ("float32",))
    return parakeet(n, "nemotron_streaming")


def granite(n: Numbers, bands: str = "n_mels") -> FeatureConfig:
    """IBM Granite Speech; pairs of frames are stacked afterwards."""
    given = n.values.get("melspec_kwargs")  # files that transformers writes hold the numbers in this object
    inner = Numbers(given) if isinstance(given, dict) else n
    return PRESETS["granite"].replace(
        sr=n.whole("sampling_rate", inner.whole("sample_rate", 16000)),
        **inner.frames(),
        n_mels=inner.whole(bands, 80),
    )


def granite5(n: Numbers) -> FeatureConfig:
    """Granite Speech 5, with deltas afterwards."""
    return granite(n, "num_mel_bins").replace(top_db=10.0 * n.real("logmel_floor_db", 8.0))  # it counts in decades


def phi4(n: Numbers) -> FeatureConfig:
    """Phi-4 multimodal."""
    sr = n.whole("sampling_rate", 16000)
    return PRESETS["phi4"].replace(
        sr=sr,
        **n.frames(),
        preemphasis=n.real("preemphasis", 0.97),
        n_mels=n.whole("feature_size", 80),
        fmin=n.real("mel_min_frequency", 0.0),
        fmax=upper_edge(n.real("mel_max_frequency", 7690.0), sr),
    )


def _gemma(n: Numbers, preset: str, length_ms: float, edges: tuple[float, float], emphasis: float) -> FeatureConfig:
    n.no_noise()
    sr, n_mels = n.whole("sampling_rate", 16000), n.whole("feature_size", 128)
    length = n.whole("frame_length", round(sr * n.real("frame_length_ms", length_ms) / 1000))
    hop = n.whole("hop_length", round(sr * n.real("hop_length_ms", 10.0) / 1000))
    n_fft = (1 << (length - 1).bit_length()) << n.flag("fft_overdrive", preset == "gemma3n")
    n.agree("fft_length", n_fft)
    left, floor = length // 2 if preset == "gemma4" else 0, n.real("mel_floor", 1e-5 if preset == "gemma3n" else 1e-3)
    cfg = PRESETS[preset].replace(
        sr=sr,
        scale=n.real("input_scale_factor", 1.0),
        n_fft=n_fft,
        win_length=length,
        hop_length=hop,
        padding=(left, -1),
        preemphasis=n.real("preemphasis", emphasis),
        n_mels=n_mels,
        fmin=n.real("min_frequency", edges[0]),
        fmax=upper_edge(n.real("max_frequency", edges[1]), sr),
        mean=n.each("per_bin_mean", n_mels) or 0.0,
        std=n.each("per_bin_stddev", n_mels) or 1.0,
    )
    cfg = cfg.replace(amin=floor**2) if preset == "gemma3n" else cfg.replace(offset=floor)
    if cfg.preemphasis and not n.flag("preemphasis_htk_flavor", True):
        # Each sample less the one before it, also the first of a frame: the clip is pre-emphasised, not the frame.
        return cfg.replace(preemphasis_of="clip" if left else "valid", padding=(left - 1, 0) if left else (0, 0))
    return cfg


def gemma3n(n: Numbers) -> FeatureConfig:
    """Gemma 3n."""
    return _gemma(n, "gemma3n", 32.0, (125.0, 7600.0), 0.97)


def gemma4(n: Numbers) -> FeatureConfig:
    """Gemma 4."""
    return _gemma(n, "gemma4", 20.0, (0.0, 8000.0), 0.0)


def lasr(n: Numbers) -> FeatureConfig:
    """LASR (MedASR)."""
    return PRESETS["lasr"].replace(
        sr=n.whole("sampling_rate", 16000),
        **n.frames(),
        n_mels=n.whole("feature_size", 128),
    )


def clap(n: Numbers) -> FeatureConfig:
    """CLAP, whose filters depend on how long clips are cut."""
    sr = n.whole("sampling_rate", 48000)
    fused = n.word("truncation", "fusion", ("fusion", "rand_trunc")) == "fusion"
    n.agree("nb_max_samples", n.whole("max_length_s", 10) * sr)
    n.agree("nb_frequency_bins", n.whole("fft_window_size", 1024) // 2 + 1)
    return PRESETS["clap_fused" if fused else "clap"].replace(
        sr=sr,
        n_fft=n.whole("fft_window_size", 1024),
        hop_length=n.whole("hop_length", 480),
        n_mels=n.whole("feature_size", 64),
        fmin=n.real("frequency_min", 0.0),
        fmax=upper_edge(n.real("frequency_max", 14000.0), sr),
    )


def inkling(n: Numbers) -> FeatureConfig:
    """Inkling: frames of two tokens' time, none of which waits for later samples."""
    sr, token = n.whole("sampling_rate", 16000), n.real("audio_token_duration_s", 0.05)
    hop, length = token * sr, token * sr * n.real("window_size_multiplier", 2.0)
    if abs(hop - round(hop)) > 1e-6 or abs(length - round(length)) > 1e-6:
        raise CumelError(f"audio_token_duration_s={token:g}: {hop:g} and {length:g} samples must be whole numbers")
    n_fft = n.whole("n_fft", round(length)) if n.values.get("n_fft") else round(length)
    return PRESETS["inkling"].replace(
        sr=sr,
        n_fft=n_fft,
        win_length=round(length) if round(length) != n_fft else None,
        hop_length=round(hop),
        padding=(max(n_fft - round(hop), 0), round(hop) - 1),
        n_mels=n.whole("feature_size", 80),
    )
