"""Bank conflicts of the fused kernel in shared memory, computed from the addresses that its lanes use."""

from collections.abc import Iterable

from cumel.kernels import plan

BANKS = 32  # banks of shared memory, 4 bytes wide


def wavefronts(words: Iterable[int], width: int = 1) -> int:
    """Return how often shared memory is read or written for one access of a warp.

    Parameters
    ----------
    words : iterable of int
        First word of each lane that takes part.
    width : int
        Words of a lane: 1, 2 or 4. Shared memory then serves 32, 16 or 8 lanes at once.
    """
    lanes, together = list(words), BANKS // width
    total = 0
    for begin in range(0, len(lanes), together):
        touched = {word + i for word in lanes[begin : begin + together] for i in range(width)}
        total += max(sum(word % BANKS == bank for word in touched) for bank in range(BANKS))
    return total


def conflicts(n_fft: int, fused: plan.Fused, *, all_bins: bool) -> dict[tuple[str, str], float]:
    """Return the average wavefronts of an access, by the names of its array and its instruction."""
    p, lanes = plan.RADICES[n_fft]
    at_once, pitch, frames = plan.WARP // lanes, p + 2, fused.most_frames
    region = fused.region // 4
    bins = [g * region + (g * (lanes - region)) % plan.WARP for g in range(at_once)]  # fused.cu computes the same
    share = [(g, j) for g in range(at_once) for j in range(lanes)]
    store = [wavefronts(bins[g] + j for g, j in share)]
    if all_bins:
        store.append(wavefronts(bins[g] + n_fft // 2 - j for g, j in share))
    groups = zip(fused.mel.first, fused.mel.quads, strict=True)
    read = sum(n * wavefronts(bins[g] + int(first[j]) for g, j in share) for first, n in groups)
    tids = range(plan.WARP)
    return {
        ("exchange", "STS"): wavefronts((g * region + 2 * j * pitch for g, j in share), 4),
        ("exchange", "LDS"): wavefronts((g * region + 2 * j for g, j in share), 2),
        ("bins", "STS"): sum(store) / len(store),
        ("bins", "LDS"): read / sum(fused.mel.quads),
        ("tile", "STS"): wavefronts(j * (frames + 1) + g for g, j in share),
        ("tile", "LDS"): wavefronts(tid // frames * (frames + 1) + tid % frames for tid in tids),
    }
