"""The tables of docs/frontends.md: differences from the packages of pretrained models, and times beside theirs."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cumel.kernels import PRESETS

from reporting.markdown import short, table, times
from reporting.rows import latest, numbers, where

# The presets by family, each with the models that it is the front end of.
FAMILIES = {
    "Whisper": {
        "whisper": "openai/whisper with 80 bands: tiny to large-v2",
        "whisper128": "whisper-large-v3, Qwen2-Audio, Qwen2.5-Omni, Qwen3-ASR, Voxtral, Audio Flamingo 3",
        "voxtral_realtime": "Voxtral Realtime",
    },
    "Kaldi": {
        "kaldi": "torchaudio.compliance.kaldi, WeNet, Kaldi with snip_edges",
        "kaldi_no_snip": "lhotse, icefall (Zipformer)",
        "speech2text": "Speech2Text",
        "seamless": "SeamlessM4T, w2v-BERT 2",
        "wespeaker": "WeSpeaker, pyannote's WeSpeaker",
        "wespeaker_raw": "WeSpeaker, samples in -1..1, without subtracted means",
        "funasr": "FunASR: Paraformer, SenseVoice, before frames are stacked",
        "ast": "AST, SSAST",
        "beats": "BEATs",
        "phi4": "Phi-4-multimodal",
    },
    "NVIDIA NeMo": {
        "parakeet": "Parakeet, Canary: NeMo's 80 bands",
        "parakeet128": "the same with 128 bands",
        "nemotron_streaming": "Nemotron ASR streaming",
    },
    "Google": {
        "lasr": "LASR (MedASR)",
        "gemma3n": "Gemma 3n",
        "gemma4": "Gemma 4",
        "vggish": "VGGish",
        "yamnet": "YAMNet",
    },
    "Other speech models": {
        "granite": "Granite Speech",
        "inkling": "Inkling",
        "gigaam": "GigaAM v2",
        "speechbrain": "SpeechBrain's Fbank",
        "espnet": "ESPnet's LogMel",
    },
    "Sounds and music": {
        "clap": "LAION CLAP, rand_trunc",
        "clap_fused": "LAION CLAP, fusion",
        "panns": "PANNs at 32 kHz",
        "passt": "PaSST",
        "efficientat": "EfficientAT",
        "pop2piano": "Pop2Piano",
    },
    "Speech synthesis": {
        "speecht5": "SpeechT5's targets",
        "univnet": "UnivNet",
        "clvp": "CLVP, Tortoise",
    },
    "Of no pretrained model": {
        "esc50": "the student report that this project grew out of",
        "compact": "what the `quick` recipe trains on",
        "librosa": "librosa.feature.melspectrogram's defaults",
    },
}
ORDER = [preset for family in FAMILIES.values() for preset in family]
OURS = "cumel"


def _ordered(rows: pd.DataFrame, *then: str) -> pd.DataFrame:
    place = rows["preset"].map({preset: number for number, preset in enumerate(ORDER)})
    if place.isna().any():
        raise SystemExit(f"{rows['preset'][place.isna()].iloc[0]}: name its family in bench/reporting/frontends.py")
    return rows.assign(place=place).sort_values(["place", *then], kind="stable").drop(columns="place")


def _facts(preset: str) -> dict[str, str]:
    cfg = PRESETS[preset]
    length = f"{cfg.win_length or cfg.n_fft}"
    return {
        "Hz": str(cfg.sr),
        "window, hop, n_fft": f"{length}, {cfg.hop_length}, {cfg.n_fft}",
        "bands": str(cfg.n_mels),
        "values": (cfg.log or "linear") + (", per clip" if cfg.normalize else ""),
    }


def parity_table(results: Path) -> str:
    """Return, by family, the difference of ours and of the float64 reference from every package."""
    columns = ("max", "median", "reference_max", "reference_median")
    rows = _ordered(latest(results, "parity", "package", "by", "signal", *columns))
    if lacking := [preset for preset in PRESETS if preset not in set(rows["preset"])]:
        raise SystemExit(f"parity.csv has no row of {', '.join(lacking)}: run bench/parity.py")
    parts = []
    for family, models in FAMILIES.items():
        lines, before = [], ""
        for _, row in rows[rows["preset"].isin(list(models))].iterrows():
            preset = row["preset"]
            names = {"preset": f"`{preset}`", "of": models[preset], **_facts(preset)}
            golden = " (golden array)" if row["signal"] == "golden array" else ""
            lines.append(
                {name: "" if preset == before else value for name, value in names.items()}
                | {"package": f"{row['package']}: {row['by']}{golden}"}
                | {name.replace("_", " "): short(float(row[name])) for name in columns}
            )
            before = preset
        words = ("preset", "of", "window, hop, n_fft", "values", "package")
        parts.append(f"**{family}**\n\n{table(pd.DataFrame(lines), words)}")
    return "\n\n".join([*parts, where(rows)])


def frontends_table(results: Path) -> str:
    """Return each package's fastest batch beside ours; a ratio is that of the two times in its line."""
    keys = ["preset", "seconds"]
    rows = latest(results, "frontends", "package", "ms_per_clip")
    rows = rows.assign(ms=numbers(rows["ms_per_clip"]), length=numbers(rows["seconds"]))
    best = rows.loc[rows.groupby([*keys, "peer"], sort=False)["ms"].idxmin()]
    ours = best[best["peer"] == OURS].set_index(keys)
    peers = _ordered(best[best["peer"] != OURS], "length")
    own = ours.loc[pd.MultiIndex.from_frame(peers[keys])]
    shown = {
        "preset": "`" + peers["preset"] + "`",
        "s": peers["seconds"],
        "package": peers["package"],
        "clips at once": peers["batch"],
        "ms per clip": peers["ms"].map(short),
        "cumel: clips at once": own["batch"].to_numpy(),
        "cumel: ms per clip": own["ms"].map(short).to_numpy(),
        "cumel is faster by": pd.Series(peers["ms"].to_numpy() / own["ms"].to_numpy(), peers.index).map(times),
    }
    return f"{table(pd.DataFrame(shown), ('preset', 'package'))}\n\nOne thread. {where(rows)}"


def wrapped_table(results: Path) -> str:
    """Return whole calls of extractors, wrapped and not; a ratio is that of the two times in its line."""
    keys = ["extractor", "seconds", "batch"]
    rows = latest(results, "wrapped", "package", "ms_per_clip")
    rows = rows.assign(ms=numbers(rows["ms_per_clip"]))
    ours = rows[rows["peer"] == OURS].set_index(keys)["ms"]
    peers = rows[rows["peer"] != OURS]
    own = ours.loc[pd.MultiIndex.from_frame(peers[keys])].to_numpy()
    shown = {
        "extractor": peers["extractor"],
        "s": peers["seconds"],
        "clips at once": peers["batch"],
        "transformers: ms per clip": peers["ms"].map(short),
        "wrapped: ms per clip": pd.Series(own, peers.index).map(short),
        "wrapped is faster by": (peers["ms"] / own).map(times),
    }
    note = " or ".join(dict.fromkeys(peers["package"]))
    return f"{table(pd.DataFrame(shown), ('extractor',))}\n\n{note}; one thread. {where(rows)}"


def hour_table(results: Path) -> str:
    """Return time and memory of one hour at once."""
    rows = _ordered(latest(results, "hour", "package", "seconds", "peak_mb", "features_mb"))
    ours = rows["peer"] == OURS
    shown = {
        "preset": "`" + rows["preset"] + "`",
        "by": rows["package"].where(~ours, "**cumel**"),
        "seconds": numbers(rows["seconds"]).map(short),
        "MB beyond the samples": numbers(rows["peak_mb"]).map("{:.0f}".format),
        "of them features": numbers(rows["features_mb"]).map("{:.0f}".format),
    }
    return f"{table(pd.DataFrame(shown), ('preset', 'by'))}\n\nOne thread. {where(rows)}"


TABLES: dict[str, Callable[[Path], str]] = {
    "parity": parity_table,
    "frontends": frontends_table,
    "wrapped": wrapped_table,
    "hour": hour_table,
}
