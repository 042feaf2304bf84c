"""Kaldi's filter banks and cepstra, with the arguments of `torchaudio.compliance.kaldi` and the numbers of its 2.11.

Beyond torchaudio: NumPy and CuPy arrays, batches of unequal lengths, int16, CUDA by the kernels.
"""

from __future__ import annotations

from typing import Any

from ..kernels import Array, CumelError, FeatureConfig, Normalize, arrays, log_mel, mfcc as cepstra

EPSILON = 2.0**-23  # of float32: the smallest mel value, whatever the scale of the samples
WINDOWS = {
    "povey": "povey",
    "hanning": "hann",
    "hamming": "hamming",
    "blackman": "blackman",
    "rectangular": "boxcar",
}
MILLISECOND = 0.001  # seconds
BLACKMAN = 0.42  # the coefficient of our Blackman window
REFUSED = {
    "dither": (0.0, "adds noise, so that no two calls agree; give 0, as torchaudio's default is"),
    "use_energy": (False, "adds a column that no filter gives; give False, and take the energy of frames yourself"),
    "vtln_warp": (1.0, "warps the filters for each speaker, which one description of a front end does not; give 1"),
    "blackman_coeff": (BLACKMAN, f"our Blackman window has {BLACKMAN}"),
}


def fbank_config(
    *,
    frame_length: float = 25.0,
    frame_shift: float = 10.0,
    high_freq: float = 0.0,
    low_freq: float = 20.0,
    num_mel_bins: int = 23,
    preemphasis_coefficient: float = 0.97,
    remove_dc_offset: bool = True,
    round_to_power_of_two: bool = True,
    sample_frequency: float = 16000.0,
    snip_edges: bool = True,
    subtract_mean: bool = False,
    use_log_fbank: bool = True,
    use_power: bool = True,
    window_type: str = "povey",
    **others: Any,
) -> FeatureConfig:
    """Describe the front end that arguments of `fbank` mean.

    Returns
    -------
    FeatureConfig
        Time-major, for samples at the scale at which they are given.

    Raises
    ------
    CumelError
        For arguments that contradict each other, and for dither, energy and VTLN, with the reason.

    Examples
    --------
    >>> from cumel import PRESETS
    >>> fbank_config(num_mel_bins=80) == PRESETS["kaldi"]
    True
    """
    for name, (only, reason) in REFUSED.items():
        if others.get(name, only) != only:
            raise CumelError(f"{name}={others[name]}: {reason}")
    if window_type not in WINDOWS:
        raise CumelError(f"window_type={window_type}: must be one of {', '.join(WINDOWS)}")
    if sample_frequency != int(sample_frequency):
        raise CumelError(f"sample_frequency={sample_frequency}: must be a whole number of hertz")
    length = int(sample_frequency * frame_length * MILLISECOND)
    hop = int(sample_frequency * frame_shift * MILLISECOND)
    if length < 2 or hop < 1:
        raise CumelError(
            f"frame_length={frame_length}, frame_shift={frame_shift} ms: {length} and {hop} samples are too few"
        )
    n_fft = 1 << (length - 1).bit_length() if round_to_power_of_two else length
    if n_fft % 2:
        raise CumelError(f"frame_length={frame_length} ms: {length} samples are odd; use round_to_power_of_two=True")
    left = length // 2 - hop // 2
    if not snip_edges and left < 0:
        raise CumelError(f"frame_shift={frame_shift} ms: frames this far apart need snip_edges=True")
    return FeatureConfig(
        sr=int(sample_frequency),
        remove_dc=remove_dc_offset,
        preemphasis=preemphasis_coefficient,
        n_fft=n_fft,
        hop_length=hop,
        win_length=length,
        window=WINDOWS[window_type],
        periodic=False,
        align="left",
        padding=(0, 0) if snip_edges else (left, length - left - hop + hop // 2),
        pad_mode="constant" if snip_edges else "symmetric",
        power=2.0 if use_power else 1.0,
        n_mels=num_mel_bins,
        fmin=low_freq,
        fmax=None if high_freq in (0.0, sample_frequency / 2) else high_freq + (high_freq < 0) * sample_frequency / 2,
        htk=True,
        norm=None,
        triangles="mel",
        amin=(EPSILON if use_power else EPSILON**2) if use_log_fbank else 0.0,
        log="ln" if use_log_fbank else None,
        top_db=None,
        normalize=Normalize(variance=False) if subtract_mean else None,
        time_major=True,
    )


def arguments(cfg: FeatureConfig) -> dict[str, Any]:
    """Return the arguments of `fbank` that mean a config; its `scale` is left to the samples.

    Raises
    ------
    CumelError
        When Kaldi's functions have no such front end; the message names the fields.

    Examples
    --------
    >>> from cumel import PRESETS
    >>> arguments(PRESETS["beats"].replace(mean=0.0, std=1.0))["num_mel_bins"]
    128
    """
    length = cfg.win_length or cfg.n_fft
    options = {
        "frame_length": length / cfg.sr / MILLISECOND,
        "frame_shift": cfg.hop_length / cfg.sr / MILLISECOND,
        "high_freq": cfg.top_frequency,
        "low_freq": cfg.fmin,
        "num_mel_bins": cfg.n_mels,
        "preemphasis_coefficient": cfg.preemphasis,
        "remove_dc_offset": cfg.remove_dc,
        "round_to_power_of_two": cfg.n_fft != length or length & (length - 1) == 0,
        "sample_frequency": float(cfg.sr),
        "snip_edges": cfg.edges == (0, 0),
        "subtract_mean": cfg.normalize is not None,
        "use_log_fbank": cfg.log is not None,
        "use_power": cfg.power == 2,
        "window_type": {ours: kaldis for kaldis, ours in WINDOWS.items()}.get(cfg.window, cfg.window),
    }
    meant = fbank_config(**options).replace(scale=cfg.scale, n_mfcc=cfg.n_mfcc)
    differing = cfg.differences(meant)
    if differing:
        raise CumelError(f"Kaldi has no such front end: {'; '.join(differing)}")
    return options


def fbank(
    waveform: Array,
    blackman_coeff: float = BLACKMAN,
    channel: int = -1,
    dither: float = 0.0,
    energy_floor: float = 1.0,
    frame_length: float = 25.0,
    frame_shift: float = 10.0,
    high_freq: float = 0.0,
    htk_compat: bool = False,
    low_freq: float = 20.0,
    min_duration: float = 0.0,
    num_mel_bins: int = 23,
    preemphasis_coefficient: float = 0.97,
    raw_energy: bool = True,
    remove_dc_offset: bool = True,
    round_to_power_of_two: bool = True,
    sample_frequency: float = 16000.0,
    snip_edges: bool = True,
    subtract_mean: bool = False,
    use_energy: bool = False,
    use_log_fbank: bool = True,
    use_power: bool = True,
    vtln_high: float = -500.0,
    vtln_low: float = 100.0,
    vtln_warp: float = 1.0,
    window_type: str = "povey",
    *,
    lengths: arrays.Lengths = None,
) -> Array:
    """Compute log-mel filter banks, as `torchaudio.compliance.kaldi.fbank` and Kaldi's `compute-fbank-feats`.

    Other parameters are as in torchaudio. `energy_floor`, `raw_energy` and `htk_compat` are of the energy, which is
    refused.

    Parameters
    ----------
    waveform : ndarray or Tensor, float32 or int16
        [n_samples]; [n_channels, n_samples], of which `channel` is taken (-1: the first); or a batch
        [n_clips, n_channels, n_samples]. With `lengths`, [n_clips, n_samples] is a batch as well. int16 is scaled by
        1/32768; Kaldi itself reads files as numbers up to 32768: multiply by that for its features.
    lengths : int array, optional
        Samples of each clip of a batch. Each clip is computed as if alone.
    min_duration : float
        Seconds; a clip that is shorter gives no frame.

    Returns
    -------
    ndarray or Tensor [n_frames, num_mel_bins], or [n_clips, n_frames, num_mel_bins] of a batch
        The kind of array that came in, on its device. Frames past a clip's end read as silence, or 0 with
        `subtract_mean`.

    Raises
    ------
    CumelError
        For dither, energy or VTLN, with the reason; for arguments that contradict each other; for a clip that is
        shorter than a frame.

    Examples
    --------
    >>> import numpy as np
    >>> fbank(np.zeros((1, 16000), np.float32), num_mel_bins=80).shape
    (98, 80)
    """
    options = dict(locals())
    y, cfg = _clips(options), fbank_config(**options)
    return y[..., :0] if _is_short(y, min_duration, cfg) else log_mel(y, cfg, lengths)


def mfcc(
    waveform: Array,
    blackman_coeff: float = BLACKMAN,
    cepstral_lifter: float = 22.0,
    channel: int = -1,
    dither: float = 0.0,
    energy_floor: float = 1.0,
    frame_length: float = 25.0,
    frame_shift: float = 10.0,
    high_freq: float = 0.0,
    htk_compat: bool = False,
    low_freq: float = 20.0,
    num_ceps: int = 13,
    min_duration: float = 0.0,
    num_mel_bins: int = 23,
    preemphasis_coefficient: float = 0.97,
    raw_energy: bool = True,
    remove_dc_offset: bool = True,
    round_to_power_of_two: bool = True,
    sample_frequency: float = 16000.0,
    snip_edges: bool = True,
    subtract_mean: bool = False,
    use_energy: bool = False,
    vtln_high: float = -500.0,
    vtln_low: float = 100.0,
    vtln_warp: float = 1.0,
    window_type: str = "povey",
    *,
    lengths: arrays.Lengths = None,
) -> Array:
    """Compute cepstra, as `torchaudio.compliance.kaldi.mfcc`; parameters and errors as for `fbank`.

    Returns
    -------
    ndarray or Tensor [n_frames, num_ceps], or [n_clips, n_frames, num_ceps] of a batch
        With `htk_compat` the first coefficient is the last one, times the root of 2.

    Examples
    --------
    >>> import numpy as np
    >>> mfcc(np.zeros((1, 16000), np.float32)).shape
    (98, 13)
    """
    options = dict(locals())
    y, cfg = _clips(options), fbank_config(**options)
    if _is_short(y, min_duration, cfg):
        return y[..., :0]
    # The mean over frames may be taken before the cosine transform, which is linear.
    out: Any = cepstra(y, cfg.replace(n_mfcc=num_ceps, lifter=cepstral_lifter, lifter_from=0), lengths)
    if htk_compat:
        out = out[..., [*range(1, num_ceps), 0]]
        out[..., -1] *= 2.0**0.5
    return out


def _clips(options: dict[str, Any]) -> Any:
    """Take waveform, channel and lengths out of the arguments, and return the samples [n] or [n_clips, n]."""
    y, channel, lengths = (options.pop(name) for name in ("waveform", "channel", "lengths"))
    arrays.check_array(y)
    if y.ndim == 1 or (y.ndim == 2 and lengths is not None):
        return y
    if y.ndim > 3:
        raise CumelError(f"waveform has shape {tuple(y.shape)}: give [n], [channels, n] or [clips, channels, n]")
    if max(channel, 0) >= y.shape[-2]:
        raise CumelError(f"channel={channel}: waveform has {y.shape[-2]} channels, numbered from 0")
    return y[..., max(channel, 0), :]


def _is_short(y: Any, min_duration: float, cfg: FeatureConfig) -> bool:
    """Tell whether all clips are shorter than the least duration, in seconds."""
    return y.shape[-1] < min_duration * cfg.sr
