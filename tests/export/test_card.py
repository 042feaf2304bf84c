"""A model card's programs give, in each language, the answer that `cumel.load` gives; its text fits every form."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import cumel
from cumel.export import Interface, export_onnx
from cumel.export.card import card
from cumel.export.graph import Metadata
from cumel.kernels import FeatureConfig

from support.exported import LABELS, clips, lively_run
from support.programs import programs, run
from support.recordings import tiny_recipe

CLOSE = 2e-6  # difference of a probability between runtimes; 4e-7 at worst, onnxruntime-web
CLOSE_PCM = 2e-3  # after rounding to 16 bits; 5e-4 at worst
RECIPE = tiny_recipe()
N = RECIPE.n_samples
FORMS = {
    "any length": Interface(),
    "lengths": Interface(lengths=True),
    "its own length": Interface(samples=N),
    "a shorter length": Interface(samples=N // 2, fit="zeros"),
    "a longer length": Interface(samples=2 * N),
    "PCM": Interface(dtype="int16"),
    "channels": Interface(channels=True),
    "all": Interface(dtype="int16", channels=True, lengths=True, outputs=("features", "logits", "probabilities")),
}
CHECKED = {"max_difference": 1e-7, "same_top": 1.0, "clips": 3, "without_cuda_kernel": []}


@pytest.fixture(scope="module", params=FORMS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, its card, and a recording in all forms that the programs read."""
    folder = tmp_path_factory.mktemp("card")
    interface = FORMS[request.param]
    export_onnx(lively_run(folder / "run", RECIPE), folder / "my model.onnx", interface)
    fixed = interface.samples is not None
    y = np.resize(clips(RECIPE, 3)[2], interface.samples if fixed else N - 1500)
    soundfile.write(folder / "dog.wav", y, RECIPE.features.sr, subtype="FLOAT")
    y.tofile(folder / "dog.f32")
    (y * 32767).astype(np.int16).tofile(folder / "dog.s16")
    return folder


def expected(folder: Path) -> tuple[str, float]:
    """Return label and probability of the recording; a file of a fixed length hears what is there of it."""
    y, _ = soundfile.read(folder / "dog.wav", dtype="float32")
    model = cumel.load(folder / "my model.onnx", provider="cpu")
    interface = model.metadata.interface
    y = y if interface.samples is None else y[: interface.samples]
    (found,) = model.probabilities(model.metadata.fitted(y)[None])
    return LABELS[int(found.argmax())], float(found.max())


@pytest.mark.parametrize("language", ["python", "javascript", "rust", "cpp"])
def test_a_program_gives_the_answer(exported: Path, language: str) -> None:
    label, probability = expected(exported)
    said, value = run(language, programs(exported / "my model.md")[language], exported).rsplit(maxsplit=1)
    assert said == (str(LABELS.index(label)) if language == "cpp" else label)
    dtype = cumel.load(exported / "my model.onnx", provider="cpu").metadata.interface.dtype
    assert abs(float(value) - probability) <= (CLOSE if dtype == "float32" else CLOSE_PCM)


def test_the_program_in_python_takes_any_recording(tmp_path: Path) -> None:
    export_onnx(lively_run(tmp_path / "run", RECIPE), tmp_path / "m.onnx")
    y = np.repeat(clips(RECIPE, 3)[1], 2)
    stereo = np.stack([y, np.zeros_like(y)], axis=1)
    soundfile.write(tmp_path / "dog.wav", stereo, 2 * RECIPE.features.sr, subtype="FLOAT")
    label, value = run("python", programs(tmp_path / "m.md")["python"], tmp_path).rsplit(maxsplit=1)
    mono = soxr.resample(stereo, 2, 1).mean(axis=1)[: RECIPE.n_samples]
    (given,) = cumel.load(tmp_path / "m.onnx", provider="cpu").probabilities(mono[None])
    assert label == LABELS[int(given.argmax())]
    assert abs(float(value) - given.max()) <= CLOSE


def test_every_program_is_short() -> None:
    for interface in FORMS.values():
        shown = card(described(interface), Path("m.onnx"), CHECKED)
        longest = {"python": 12, "javascript": 10, "csharp": 12, "rust": 14, "cpp": 29}
        for language, most in longest.items():
            (program,) = [text for name, text in found(shown) if name == language]
            assert len(program.splitlines()) <= most
            assert max(map(len, program.splitlines())) <= 120


def found(shown: str) -> list[tuple[str, str]]:
    parts = shown.split("```")[1::2]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in parts]


def described(interface: Interface, **others: object) -> Metadata:
    return Metadata.of_recipe(RECIPE, labels=LABELS, interface=interface, fold=1, epoch=1, **others)


def test_outputs_without_scores_are_counted() -> None:
    shown = dict(found(card(described(Interface(outputs=("embedding",))), Path("m.onnx"), CHECKED)))
    assert "print(values.shape)" in shown["python"]
    assert '["embedding"]' in shown["javascript"]
    assert "labels[" not in "".join(program.split("labels", 2)[-1] for program in shown.values() if "best" in program)


def test_ffmpeg_makes_what_the_file_takes() -> None:
    def command(interface: Interface) -> str:
        return dict(found(card(described(interface), Path("m.onnx"), CHECKED)))["sh"].strip()

    assert command(Interface()) == "ffmpeg -i dog.mp3 -ac 1 -ar 8000 -f f32le dog.f32"
    assert command(Interface(dtype="int16", rate=44100)) == "ffmpeg -i dog.mp3 -ac 1 -ar 44100 -f s16le dog.s16"
    assert command(Interface(samples=99)).endswith("-ar 8000 -af atrim=end_sample=99 -f f32le dog.f32")


def test_a_network_without_a_recipe_has_no_scores() -> None:
    metadata = Metadata(name="mine", labels=("a",), features=FeatureConfig(), kind="logmel", seconds=2.0)
    shown = card(metadata, Path("m.onnx"), CHECKED)
    assert "Classifies clips of 2 s into 1 kind of sound. Network `mine`, fp32." in shown
    assert "fold held out" not in shown
    assert "## Scores\n\nAgainst the network itself" in shown
    assert "{" not in shown.split("```")[0]


def test_a_card_warns_of_what_ruins_a_file() -> None:
    shown = card(described(Interface()), Path("m.onnx"), CHECKED)
    for said in ("quantize_dynamic", "frontend/", "--precision int8", "NaN", "INFERENCE_PRECISION_HINT", "use_tf32=0"):
        assert said in shown


def test_an_image_model_has_no_programs() -> None:
    shown = card(described(Interface(input="image")), Path("m.onnx"), CHECKED)
    assert "```" not in shown
    assert "`image` [batch, 1, 16, 63], float32: Features of 1 s at 8000 Hz" in shown
