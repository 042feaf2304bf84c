"""The kinds of features, in one table, and what a backend is. Needs no torch until something is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .config import FeatureConfig
from .plan import Stage

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Clips = TypeVar("Clips", contravariant=True)


class Compute(Protocol[Clips]):
    """One feature of clips, on one backend."""

    def __call__(
        self, clips: Clips, cfg: FeatureConfig, out: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute [n_clips, n_rows, n_frames], in `out`, of any strides, or else as `dtype` (None: the feature's)."""
        ...


class Backend(Protocol[Clips]):
    """What computes every feature, for clips as it takes them: `cpu`, `autograd` and `cuda.Frontend`."""

    @property
    def stft(self) -> Compute[Clips]: ...  # noqa: D102
    @property
    def spectrogram(self) -> Compute[Clips]: ...  # noqa: D102
    @property
    def melspectrogram(self) -> Compute[Clips]: ...  # noqa: D102
    @property
    def log_mel(self) -> Compute[Clips]: ...  # noqa: D102
    @property
    def mfcc(self) -> Compute[Clips]: ...  # noqa: D102
    @property
    def mel_image(self) -> Compute[Clips]: ...  # noqa: D102


@dataclass(frozen=True)
class Feature:
    """One kind of feature. Calling it computes it, as the public function of that name in `features`."""

    function: str  # its name in `features` and in every backend
    kind: str | None  # its name in recipes, stores and `--features`; None: it has none there
    rows: str  # the field of a config that counts its rows
    dtype: str
    stage: Stage  # where the kernels stop

    def __call__(self, y: Any, cfg: FeatureConfig, *arguments: Any, **options: Any) -> Any:
        """Compute the feature by the public function."""
        from . import features  # here, so that the table needs no torch

        return getattr(features, self.function)(y, cfg, *arguments, **options)

    def on(self, backend: Backend[Clips]) -> Compute[Clips]:
        """Return what computes the feature on a backend."""
        return getattr(backend, self.function)

    @property
    def of_maximum(self) -> bool:
        """Whether a value depends on the clip's loudest one."""
        return self.stage == Stage.DECIBEL

    def n_rows(self, cfg: FeatureConfig) -> int:
        """Return the values of a frame."""
        return getattr(cfg, self.rows)

    def stored(self, real: str) -> str:
        """Return the dtype on disk, where floating-point numbers are stored as `real`."""
        return real if self.dtype == "float32" else self.dtype


_TABLE = (
    Feature("log_mel", "logmel", "n_mels", "float32", Stage.DECIBEL),
    Feature("melspectrogram", "mel", "n_mels", "float32", Stage.MEL),
    Feature("stft", "stft", "n_bins", "complex64", Stage.SPECTRUM),
    Feature("spectrogram", None, "n_bins", "float32", Stage.STRENGTH),
    Feature("mfcc", "mfcc", "n_mfcc", "float32", Stage.DECIBEL),
    Feature("mel_image", "image", "n_mels", "uint8", Stage.DECIBEL),
)
FEATURES = {feature.function: feature for feature in _TABLE}
KINDS = {feature.kind: feature for feature in _TABLE if feature.kind is not None}
