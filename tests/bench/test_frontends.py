"""Front ends of pretrained models in the benchmarks and in docs/frontends.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from cumel import PRESETS, log_mel

import frontends
import hour
import originals
import parity
import wrapped
from reporting.frontends import FAMILIES, ORDER
from timing import Times

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "frontends.md").read_text(encoding="utf-8")
BATCHED = [peer for peer in originals.LIVE if peer.batch is not None]


@pytest.mark.parametrize("peer", BATCHED, ids=lambda peer: f"{peer.preset}-{peer.package}")
def test_a_batch_of_a_peer_is_its_clips(peer: originals.Peer) -> None:
    ys = frontends.clips(PRESETS[peer.preset].sr, 10 if peer.preset.startswith("clap") else 1, 2)
    ours = np.asarray(log_mel(ys, peer.preset))
    assert frontends.wrong(peer.preset, peer.batch()(ys), ours) == ""


def test_what_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {"off": lambda y: y + 1, "short": lambda y: y[:, :-1], "lost": lambda y: y[:0], "nan": lambda y: y * np.nan}

    def peers(preset: str) -> list[originals.Peer]:
        return [
            originals.Peer(preset, name, "numpy", lambda: None, "", lambda way=way: lambda ys: way(log_mel(ys, preset)))
            for name, way in (ways | {"right": lambda y: y.copy()}).items()
        ]

    monkeypatch.setattr(frontends, "of", peers)
    monkeypatch.setattr(originals.Peer, "name", property(lambda self: f"{self.package} 1.0"))
    monkeypatch.setattr(frontends, "compare", lambda calls: {name: Times([np.ones(3)]) for name in calls})
    rows, left_out = frontends.measure("kaldi", 1, 2)
    assert [(row["peer"], row["package"], row["ms_per_clip"]) for row in rows] == [
        ("right", "right 1.0", 500),
        ("cumel", "", 500),
    ]
    assert left_out == [
        "kaldi, 2 of 1 s: off: differs in clip 0 by 1.0e+00, 1.0e+00 in the median: not timed",
        "kaldi, 2 of 1 s: short: shape (97, 80), where ours is (98, 80): not timed",
        "kaldi, 2 of 1 s: lost: 0 clips, where 2 were given: not timed",
        "kaldi, 2 of 1 s: nan: differs in clip 0 by nan, nan in the median: not timed",
    ]


def test_a_peer_without_batches_has_no_rows_of_them() -> None:
    ys = frontends.clips(16000, 1, 2)
    assert set(frontends.calls("kaldi", ys)) == {"cumel"}
    assert {"torchaudio", "kaldi-native-fbank", "cumel"} == set(frontends.calls("kaldi", ys[:1]))


def test_an_installed_peer_and_a_golden_array_are_compared() -> None:
    live = next(peer for peer in originals.LIVE if peer.preset == "clap")
    absent = originals.Peer("vggish", "torchvggish", "not_installed", lambda: None, "mel_features")
    rows = [parity.by_peer(live), parity.by_peer(absent), parity.by_librosa("compact")]
    assert [(row["preset"], row["peer"], row["signal"]) for row in rows] == [
        ("clap", "transformers", "sweep of 10 s"),
        ("vggish", "torchvggish", "golden array"),
        ("compact", "librosa", "sweep of 10 s"),
    ]
    assert all(row["package"].startswith(f"{row['peer']} ") for row in rows)
    assert all(0 < row["reference_max"] <= row["max"] < 1e-3 for row in rows)


def test_a_preset_that_differs_is_named() -> None:
    (y,) = frontends.clips(16000, 1)
    with pytest.raises(SystemExit, match=r"^kaldi: ours differs from another 1.0 by 1.0e\+00, 1.0e\+00$"):
        parity.compared("kaldi", "another 1.0", "sweep", y, log_mel(y, "kaldi") + 1)


def test_the_memory_of_a_long_clip_is_that_of_its_features() -> None:
    found = hour.apart("kaldi", "cumel", 120)
    assert found["features_mb"] == pytest.approx(11998 * 80 * 4 / 2**20)
    assert found["features_mb"] * 0.9 < found["peak_mb"] < found["features_mb"] + 40
    assert found["seconds"] > 0


def test_a_wrapped_extractor_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"input_features": np.zeros((1, 98, 80), np.float32), "attention_mask": np.ones((1, 98))}
    wrapped.demand_equal("Speech2Text", rows, rows)
    for changed, message in (
        ({"input_features": rows["input_features"]}, "has input_features, where the original has"),
        (rows | {"attention_mask": np.zeros((1, 98))}, r"attention_mask differs by 1.0e\+00"),
        (rows | {"input_features": rows["input_features"] + 0.1}, "input_features differs by 1.0e-01"),
        (rows | {"input_features": rows["input_features"][:, 1:]}, r"shape \(1, 97, 80\)"),
        (rows | {"input_features": rows["input_features"] * np.nan}, "input_features differs by nan"),
    ):
        with pytest.raises(SystemExit, match=message):
            wrapped.demand_equal("Speech2Text", rows, changed)
    monkeypatch.setattr(wrapped, "compare", lambda calls: {name: Times([np.ones(3)]) for name in calls})
    assert [row["peer"] for row in wrapped.measure("CLAP", 10, 2)] == ["transformers", "cumel"]


def test_every_preset_is_in_one_family_and_in_the_table() -> None:
    assert sorted(ORDER) == sorted(PRESETS)
    for preset in PRESETS:
        assert len(re.findall(rf"^\| `{preset}` \| [^|]+ \| {PRESETS[preset].sr} \| \d+, ", TEXT, re.MULTILINE)) == 1
    assert [f"**{family}**" for family in FAMILIES] == re.findall(r"^\*\*.+\*\*$", TEXT, re.MULTILINE)
