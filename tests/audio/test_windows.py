"""Windows of a stream are those of its samples, come as soon as they are full, and keep no more than they need."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cumel.esc50.audio.windowing import windows


def expected(n: int, size: int, hop: int) -> list[tuple[int, int]]:
    """Starts and lengths by the rule: full windows, then one that ends with the stream if anything was left."""
    if n == 0:
        return []
    if n < size:
        return [(0, n)]
    full = [(start, size) for start in range(0, n - size + 1, hop)]
    following = full[-1][0] + hop
    left = full[-1][0] + size < n and following < n
    return [*full, *([(n - size, size)] if left else [])]


@given(
    n=st.integers(0, 300),
    size=st.integers(1, 60),
    hop=st.integers(1, 90),
    cuts=st.lists(st.integers(0, 300), max_size=12),
    is_int16=st.booleans(),
)
def test_windows_of_any_stream(n: int, size: int, hop: int, cuts: list[int], is_int16: bool) -> None:
    y = np.arange(n, dtype=np.int16 if is_int16 else np.float32)
    found = list(windows(np.split(y, sorted(min(cut, n) for cut in cuts)), size, hop))
    assert [(one.start, len(one.y)) for one in found] == expected(n, size, hop)
    for one in found:
        assert one.y.dtype == np.float32
        whole = y[one.start : one.start + len(one.y)]
        np.testing.assert_array_equal(one.y, whole / np.float32(32768) if is_int16 else whole)


@pytest.mark.parametrize("hop", [1, 7, 50])
def test_all_of_a_stream_is_heard_when_windows_meet(hop: int) -> None:
    heard = np.zeros(1003, bool)
    for one in windows(np.split(np.zeros(1003, np.float32), [100, 517]), 50, hop):
        heard[one.start : one.start + len(one.y)] = True
    assert heard.all()


def test_a_window_comes_as_soon_as_its_last_sample() -> None:
    given_blocks = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal given_blocks
        for _ in range(20):
            given_blocks += 1
            yield np.zeros(10, np.float32)

    stream = windows(blocks(), 40, 20)
    assert [next(stream).start, given_blocks] == [0, 4]
    assert [next(stream).start, given_blocks] == [20, 6]


def test_what_was_heard_is_let_go() -> None:
    stream = windows((np.zeros(1000, np.float32) for _ in range(1000)), 100, 50)
    held = [one.y.base.size for one in stream if one.y.base is not None]
    assert max(held) <= 1000 + 100 + 50
