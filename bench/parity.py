"""Compares every preset's features with those of the packages that its models were trained with.

By each peer that is installed, on a sweep with noise on an offset of 0.01, with a quiet first eighth; by the others in
the golden arrays of tests/pretrained, on the clip there. Both ours in float32 and the float64 reference are compared.
"""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cumel.kernels import PRESETS, log_mel, reference

from from_tests import GOLDEN, golden_clip
from frontends import TEN, clips
from originals import LIVE, OTHERS, Peer, differences, limits
from peers import true_log_mel
from timing import installed, machine, write_rows

OWN = ("esc50", "compact", "librosa")  # presets of no pretrained model, whose peer is librosa in float64


def compared(preset: str, package: str, signal: str, y: NDArray[np.float32], theirs: NDArray[Any]) -> dict[str, Any]:
    """Return a row of results/parity.csv."""
    cfg = PRESETS[preset]
    truth = reference.log_mel(y, cfg)
    most, middle = limits(cfg, truth)
    row: dict[str, Any] = {"package": package, "signal": signal}
    for name, features in (("", log_mel(y, cfg)), ("reference_", truth.T if cfg.time_major else truth)):
        largest, median = differences(theirs, features, preset)
        if not (largest <= most and median <= middle):
            raise SystemExit(f"{preset}: {name or 'ours '}differs from {package} by {largest:.1e}, {median:.1e}")
        row |= {f"{name}max": largest, f"{name}median": median}
    return row


def by_peer(peer: Peer) -> dict[str, Any]:
    """Compare with a package, or with its golden array where it is not installed."""
    cfg = PRESETS[peer.preset]
    what = {"preset": peer.preset, "peer": peer.package, "by": peer.note}
    if peer.is_there:
        seconds = 10 if peer.preset in TEN else 30
        (y,) = clips(cfg.sr, seconds)
        return what | compared(peer.preset, peer.name, f"sweep of {seconds} s", y, np.asarray(peer.make()(y.copy())))
    arrays = np.load(GOLDEN)
    start = f"{peer.preset} {peer.package} "
    (name,) = (name for name in arrays.files if name.startswith(start))
    package = name.removeprefix(f"{peer.preset} ")
    return what | compared(peer.preset, package, "golden array", golden_clip(cfg.sr), arrays[name])


def by_librosa(preset: str) -> dict[str, Any]:
    """Compare a preset of ours with librosa."""
    cfg = PRESETS[preset]
    (y,) = clips(cfg.sr, 10)
    package = f"librosa {installed('librosa')}"
    what = {"preset": preset, "peer": "librosa", "by": "feature.melspectrogram, power_to_db, in float64"}
    return what | compared(preset, package, "sweep of 10 s", y, true_log_mel(y, cfg))


def main() -> None:
    """Compare, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", choices=sorted(PRESETS), default=PRESETS, metavar="PRESET")
    options = parser.parse_args()
    rows = [by_peer(peer) for peer in (*LIVE, *OTHERS) if peer.preset in options.presets]
    rows += [by_librosa(preset) for preset in OWN if preset in options.presets]
    write_rows("parity", rows, machine(packages=("torch", "numpy")))


if __name__ == "__main__":
    main()
