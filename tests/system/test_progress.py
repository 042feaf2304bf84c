"""What a long job says of itself: nothing absurd in its first seconds, nothing wrong when nobody knows the end."""

import re
from types import SimpleNamespace

import pytest

from cumel.esc50.system import bar, rate
from cumel.esc50.system.progress import SETTLED_SECONDS, Job, lasting


def job(total: float | None, *steps: tuple[float, float], unit: str = "files", now: float) -> str:
    """Return the text of a job at `now` that did so much at such times."""
    clock = SimpleNamespace(now=100.0)
    told = Job(total, unit, lambda: clock.now)
    for seconds, n in steps:
        clock.now = 100.0 + seconds
        told.advance(n, None)
    clock.now = 100.0 + now
    return str(told)


@pytest.mark.parametrize(
    ("total", "steps", "now", "said"),
    [
        (160, [], 0, "0 of 160 files in 0.0 s"),
        (10**9, [(0.001, 1)], 0.001, "1 of 1000000000 files in 0.0 s"),
        (160, [(0.2, 98)], SETTLED_SECONDS - 0.1, "98 of 160 files in 2.9 s"),
        (160, [(4, 80)], 4, "80 of 160 files in 4.0 s, 4.0 s left"),
        (160, [(4, 80)], 6, "80 of 160 files in 6.0 s, 2.0 s left"),  # the estimate counts down, and never grows
        (160, [(4, 80)], 60, "80 of 160 files in 1:00 min"),
        (160, [(4, 160)], 5, "160 of 160 files in 5.0 s"),
        (160, [(4, 200)], 5, "200 of 160 files in 5.0 s"),
        (0, [], 5, "0 of 0 files in 5.0 s"),
        (None, [(4, 80)], 5, "80 files in 5.0 s"),
        (10_000, [(36, 1)], 36, "1 of 10000 files in 36 s, 99:59 h left"),
    ],
)
def test_what_is_said(total: float | None, steps: list[tuple[float, float]], now: float, said: str) -> None:
    assert job(total, *steps, now=now) == said


def test_bytes_are_megabytes() -> None:
    assert job(646_000_000, (4, 64_600_000), unit="B", now=4) == "64.6 of 646.0 MB in 4.0 s, 36 s left"
    assert job(None, (4, 64_600_000), unit="B", now=4) == "64.6 MB in 4.0 s"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1:00 min"), (3599.7, "1:00 h")]
)
def test_times(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


@pytest.mark.parametrize(
    ("n", "seconds", "said"),
    [(0, 5, "0.0 files/s"), (1, 120, "0.5 files/min"), (3, 2, "1.5 files/s"), (500, 2, "250 files/s")],
)
def test_rates(n: float, seconds: float, said: str) -> None:
    assert rate(n, seconds, "files") == said


def test_a_pipe_gets_lines_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", None, "files") as advance:
        advance(2, "a note")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"reading: 2 files in 0\.\d s, a note\n", err)


@pytest.mark.parametrize(("columns", "drawn"), [(40, False), (100, True)])
@pytest.mark.parametrize("total", [3, None])
def test_a_terminal_gets_one_line(
    columns: int, drawn: bool, total: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": str(columns), "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with bar("reading recordings", total, "files") as advance:
        for _ in range(3):
            advance(1, "a note that does not fit on a narrow screen")
    err = capsys.readouterr().err
    assert "\x1b[3" not in err  # no colour
    lines = [
        line for line in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "\n", err).replace("\r", "\n").split("\n") if line.strip()
    ]
    last = "".join(lines[-3:])
    assert ("3 of 3 files in" if total else "3 files in") in last
    assert max(map(len, lines)) <= columns
    assert ("━" in err) == drawn
    assert not re.search(r"\d:\d\d:\d\d", err)


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("reading", 3, "files", quiet=True) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
