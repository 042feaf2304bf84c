"""What a wrapped extractor of NeMo's family computes itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernels import FeatureConfig
from .computing import Wrapped, features, tensor


class Nemo(Wrapped):
    """Batches that the call has pre-emphasised and takes the statistics of."""

    @staticmethod
    def configs(cfg: FeatureConfig, values: Mapping[str, Any]) -> dict[str, FeatureConfig]:
        edge = cfg.edges[0]
        return {"clip": cfg, "": cfg.replace(preemphasis=0.0, normalize=None, padding=(edge, edge))}

    def _torch_extract_fbank_features(self, waveform: Any, device: Any = "cpu", center: bool = True) -> Any:
        cfg = self._cfg if center else self._cfg.replace(padding=(0, 0))
        return tensor(features(waveform, cfg, None, device))


class Parakeet(Nemo):
    pass
