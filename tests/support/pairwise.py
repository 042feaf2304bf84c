"""The default run takes every pair of a grid's values, `--exhaustive` every combination of them.

A plugin of pytest. A test with ``@pytest.mark.pairwise`` has several parameters: by default, its items are so few that
each two values of different parameters still meet in one of them. With ``@pytest.mark.each_value``, where an item is
slow, each value is in one of them. Items with ``@pytest.mark.exhaustive`` run under ``--exhaustive`` alone. What is
left out is counted as deselected.
"""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

import pytest

STRENGTHS = {"pairwise": 2, "each_value": 1}  # by marker


def cover(rows: Sequence[Sequence[Hashable]], strength: int = 2) -> list[int]:
    """Return the places of a few rows which hold every pair of values that any row holds.

    Parameters
    ----------
    rows
        Values of the same parameters, in the same order.
    strength
        How many values meet: 2 for pairs, 1 for values alone.

    Returns
    -------
    list of int
        Ascending. The choice is greedy: a row with the most pairs that are still missing, the first of such rows.

    Examples
    --------
    >>> cover([(x, y, z) for x in "ab" for y in "cd" for z in "ef"])
    [0, 3, 5, 6]
    """
    missing = [set(combinations(enumerate(row), min(strength, len(row)))) for row in rows]
    rows_with = defaultdict(list)
    for place, pairs in enumerate(missing):
        for pair in pairs:
            rows_with[pair].append(place)
    queue = [(-len(pairs), place) for place, pairs in enumerate(missing)]
    heapq.heapify(queue)
    chosen = []
    while queue:
        size, place = heapq.heappop(queue)
        if -size > len(missing[place]):  # The entry is out of date: other rows have taken some of its pairs.
            heapq.heappush(queue, (-len(missing[place]), place))
        elif size:
            chosen.append(place)
            for pair in tuple(missing[place]):
                for other in rows_with[pair]:
                    missing[other].discard(pair)
    return sorted(chosen)


def running(request: pytest.FixtureRequest, *names: str) -> list[Any]:
    """Return the values that some parameters have in this run's tests of a module: all that a fixture must prepare.

    Parameters
    ----------
    request
        Of a fixture of the module.
    names
        Tests that lack one of these parameters do not count.

    Returns
    -------
    list
        Tuples of the values, or the values of a single parameter; each once.
    """
    here = (item for item in request.session.items if getattr(item, "module", None) is request.module)
    values = (item.callspec.params for item in here if hasattr(item, "callspec"))
    rows = {tuple(map(_key, row)): row for row in (tuple(p[n] for n in names) for p in values if p.keys() >= {*names})}
    return [row if len(names) > 1 else row[0] for row in rows.values()]


def _row(item: pytest.Function) -> list[Hashable]:
    """Return the values of an item's parameters, in the order of their names."""
    return [_key(value) for _, value in sorted(item.callspec.params.items())]


def _key(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return id(value)  # All items of a grid share the object.
    return type(value), value


def _left_out(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    left_out = {item for item in items if item.get_closest_marker("exhaustive")}
    grids = defaultdict(list)
    for item in items:
        # The tests of a GPU are kept: they are fast where there is one, and skipped where there is none.
        if not item.get_closest_marker("gpu"):
            for name in STRENGTHS:
                if item.get_closest_marker(name):
                    grids[item.nodeid.partition("[")[0], STRENGTHS[name]].append(item)
    for (_, strength), grid in grids.items():
        chosen = cover([_row(item) for item in grid], strength)
        left_out |= {*grid} - {grid[place] for place in chosen}
    return left_out


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run every combination of every grid of parameters")


@pytest.hookimpl(trylast=True)  # -k and -m choose before: a grid is what they leave of it
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--exhaustive"):
        return
    left_out = _left_out(items)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
