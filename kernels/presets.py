"""Front ends by name: our own, librosa's, and those that pretrained models were trained with.

Each of the latter is held to the original in tests/pretrained/test_parity.py. What is around a front end (padding to 30 s,
stacking of frames, masks) is in `pretrained`.
"""

from __future__ import annotations

from .config import FeatureConfig
from .rules import Normalize

EPSILON = 2.0**-23  # of float32; Kaldi's floor

_WHISPER = FeatureConfig(
    sr=16000,
    n_fft=400,
    hop_length=160,
    padding=(200, 40),
    pad_mode="reflect",
    n_mels=80,
    log="log10",
    mean=-4.0,
    std=4.0,
)
_KALDI = FeatureConfig(
    sr=16000, remove_dc=True, preemphasis=0.97, n_fft=512, hop_length=160, win_length=400, window="povey",
    periodic=False, align="left", padding=(0, 0), n_mels=80, fmin=20.0, htk=True, norm=None, triangles="mel",
    amin=EPSILON, log="ln", top_db=None, time_major=True,
)  # fmt: skip
_NEMO = FeatureConfig(
    sr=16000, preemphasis=0.97, preemphasis_of="clip", n_fft=512, hop_length=160, win_length=400, periodic=False,
    padding=(256, 96), n_mels=80, offset=2.0**-24, amin=0.0, log="ln", top_db=None,
)  # fmt: skip
_PARAKEET = _NEMO.replace(normalize=Normalize(ddof=1, eps=1e-5), time_major=True)
_TENSORFLOW = FeatureConfig(
    sr=16000, n_fft=512, hop_length=160, win_length=400, align="left", padding=(0, 0), power=1.0, n_mels=64, fmin=125.0,
    fmax=7500.0, htk=True, norm=None, triangles="mel", amin=0.0, offset=0.01, log="ln", top_db=None, time_major=True,
)  # fmt: skip
_CLAP = FeatureConfig(
    sr=48000, n_fft=1024, hop_length=480, pad_mode="reflect", n_mels=64, fmax=14000.0, top_db=None, time_major=True
)
_PASST = FeatureConfig(
    sr=32000, preemphasis=0.97, preemphasis_of="valid", n_fft=1024, hop_length=320, win_length=800, periodic=False,
    pad_mode="reflect", n_mels=128, fmax=15500.0, htk=True, norm=None, triangles="mel", offset=1e-5, amin=0.0, log="ln",
    top_db=None, mean=-4.5, std=5.0,
)  # fmt: skip
_PANNS = FeatureConfig(
    sr=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50.0, fmax=14000.0, pad_mode="reflect", top_db=None
)

PRESETS: dict[str, FeatureConfig] = {
    # The student report's spectrogram. librosa 0.9 and older padded by reflection: add pad_mode="reflect" for that.
    "esc50": FeatureConfig(sr=44100, fmin=20.0, fmax=8300.0),
    # The `quick` recipe's: 64 x 251 values of 5 s. Costs a fifth of `esc50`, and trains better.
    "compact": FeatureConfig(sr=16000, n_fft=1024, hop_length=320, n_mels=64, fmin=20.0, fmax=8000.0),
    # librosa.feature.melspectrogram without arguments.
    "librosa": FeatureConfig(),
    # OpenAI Whisper, and all that took its front end; 128 bands: large-v3, Qwen2-Audio, Qwen2.5-Omni, Voxtral.
    "whisper": _WHISPER,
    "whisper128": _WHISPER.replace(n_mels=128),
    "voxtral_realtime": _WHISPER.replace(n_mels=128, amin=10.0**-6.5, top_db=None),
    # torchaudio.compliance.kaldi.fbank and Kaldi's own, with snip_edges and without (lhotse, icefall).
    "kaldi": _KALDI,
    "kaldi_no_snip": _KALDI.replace(padding=(120, 200), pad_mode="symmetric", fmax=7600.0),
    "speech2text": _KALDI.replace(scale=32768.0, normalize=Normalize()),
    "seamless": _KALDI.replace(scale=32768.0, normalize=Normalize(ddof=1, eps=1e-7, eps_in="var")),
    "wespeaker": _KALDI.replace(scale=32768.0, window="hamming", normalize=Normalize(variance=False)),
    "wespeaker_raw": _KALDI.replace(window="hamming"),
    "funasr": _KALDI.replace(scale=32768.0, window="hamming"),
    "ast": _KALDI.replace(window="hann", n_mels=128, mean=-4.2677393, std=2 * 4.5689974),
    "beats": _KALDI.replace(scale=32768.0, n_mels=128, mean=15.41663, std=2 * 6.55582),
    # NVIDIA NeMo: Parakeet, Canary, Nemotron.
    "parakeet": _PARAKEET,
    "parakeet128": _PARAKEET.replace(n_mels=128),
    "nemotron_streaming": _NEMO.replace(time_major=True),
    "phi4": _KALDI.replace(
        scale=32768.0, remove_dc=False, window="hamming", fmin=0.0, fmax=7690.0, amin=1.0
    ),
    "lasr": _TENSORFLOW.replace(power=2.0, periodic=False, n_mels=128, offset=0.0, amin=1e-5),
    "gemma3n": FeatureConfig(
        sr=16000, preemphasis=0.97, n_fft=1024, hop_length=160, win_length=512, align="left", padding=(0, -1),
        power=1.0, n_mels=128, fmin=125.0, fmax=7600.0, htk=True, norm=None, amin=1e-5**2, log="ln", top_db=None,
        time_major=True,
    ),
    "gemma4": FeatureConfig(
        sr=16000, n_fft=512, hop_length=160, win_length=320, align="left", padding=(160, -1), power=1.0, n_mels=128,
        htk=True, norm=None, offset=1e-3, amin=0.0, log="ln", top_db=None, time_major=True,
    ),
    "granite": FeatureConfig(
        sr=16000, n_fft=512, hop_length=160, win_length=400, pad_mode="reflect", n_mels=80, htk=True, norm=None,
        log="log10", mean=-4.0, std=4.0, time_major=True,
    ),
    # Its model raises powers of bins to 1e-10 where this adds 1e-10: equal but for what is fainter than 16 bits.
    "inkling": FeatureConfig(
        sr=16000, n_fft=1600, hop_length=800, padding=(800, 799), power=1.0, bin_offset=1e-10, n_mels=80, amin=1e-10**2,
        log="log10", top_db=None, time_major=True,
    ),
    "clap": _CLAP,  # truncation="rand_trunc"
    "clap_fused": _CLAP.replace(htk=True, norm=None),  # truncation="fusion"
    # Targets of speech synthesis, and vocoders.
    "speecht5": FeatureConfig(
        sr=16000, n_fft=1024, hop_length=256, pad_mode="reflect", power=1.0, n_mels=80, fmin=80.0, fmax=7600.0,
        amin=1e-10**2, log="log10", top_db=None, time_major=True,
    ),
    "univnet": FeatureConfig(
        sr=24000, n_fft=1024, hop_length=256, padding=(384, 384), pad_mode="reflect", power=1.0, bin_offset=1e-9,
        n_mels=100, amin=1e-5**2, log="ln", top_db=None, time_major=True,
    ),
    "clvp": FeatureConfig(
        sr=22050, n_fft=1024, hop_length=256, pad_mode="reflect", n_mels=80, fmax=8000.0, htk=True, amin=1e-5, log="ln",
        top_db=None,
    ),
    "pop2piano": FeatureConfig(
        sr=22050, n_fft=4096, hop_length=1024, pad_mode="reflect", n_mels=512, fmin=10.0, htk=True, norm=None, log=None,
        top_db=None, time_major=True,
    ),
    # Classifiers: qiuqiangkong/audioset_tagging_cnn (PANNs), 32 kHz models; PaSST; EfficientAT; Google's.
    "panns": _PANNS,
    "passt": _PASST,
    "efficientat": _PASST.replace(fmax=15000.0),
    "vggish": _TENSORFLOW,
    "yamnet": _TENSORFLOW.replace(offset=0.001),
    # Toolkits' defaults.
    "speechbrain": FeatureConfig(
        sr=16000, n_fft=400, hop_length=160, window="hamming", n_mels=40, htk=True, norm=None, triangles="left",
        time_major=True,
    ),
    "espnet": FeatureConfig(
        sr=16000, n_fft=512, hop_length=128, pad_mode="reflect", n_mels=80, log="ln", top_db=None, time_major=True
    ),
    "gigaam": FeatureConfig(
        sr=16000, n_fft=400, hop_length=160, pad_mode="reflect", n_mels=64, htk=True, norm=None, amin=1e-9, log="ln",
        top_db=None,
    ),
}  # fmt: skip
