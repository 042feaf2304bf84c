"""The kinds of features that a network can take."""

from __future__ import annotations

from ...kernels.kinds import KINDS, Feature

FEATURES: dict[str, Feature] = {kind: KINDS[kind] for kind in ("image", "logmel")}  # input of a network
