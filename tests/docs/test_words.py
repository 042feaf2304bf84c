"""What the README and docs/ name exists, what they state stands in a table, and the pages build without a warning."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cumel

from reporting.tables import BEGIN, END
from support.documents import COMMANDS, INLINE, PAGES, ROOT, check, extras, inline, options, sentences, targets, text_of

MOST_LINES = 150  # of the README
FILE = re.compile(r"(?:kernels|pretrained|esc50|export|api|bench|tests|docs)/[\w./-]+")  # a path in this repository
INNER = {"audio", "cli", "dev", "docs"}  # extras that others contain, or that only this folder needs
MADE = {"bench/gpu", "bench/report/index.html", "kernels/name.cu"}  # what commands, or readers, make


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_within_sentences_exists(page: str) -> None:
    """Commands, options, targets, extras, files and presets that a sentence or a table names."""
    for code in inline(page):
        words = code.split()
        if words[0] == "cumel" and len(words) > 1:
            assert words[1] in COMMANDS.commands, f"{page}: `{code}`"
        if words[0] in ("make", "pip", "pytest") or code.startswith("python bench/"):
            check(code)
        if words[0] in ("cumel", "python") or code.startswith("--"):
            unknown = set(re.findall(r"(?<!\S)--[a-z-]+", code)) - options()
            assert not unknown, f"{page}: `{code}`: no option {unknown}"
        if FILE.fullmatch(code) and code not in MADE:
            assert (ROOT / code).exists(), f"{page}: `{code}` is not there"


def test_the_commands_of_the_readme_are_all_commands() -> None:
    table = text_of("README.md").split("| command | what it does |")[1].split("\n\n")[0]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines()[2:])
    named = {word for code in INLINE.findall(first_cells) for word in code.split()}
    assert named - {"cumel"} == set(COMMANDS.commands)


def test_the_readme_names_every_extra_and_fits_a_page() -> None:
    text = text_of("README.md")
    assert len(text.splitlines()) <= MOST_LINES
    users = text.split("The extras are ")[1].split("\n\n")[0]
    assert set(INLINE.findall(users)) - {"cumel doctor"} == extras() - INNER
    assert {"demo", "test", "check", "docs", "install"} <= targets()


def test_the_figures_of_the_readme_are_those_of_the_tables() -> None:
    """Speeds are written by bench/report.py; these are typed, and must stand where they come from."""
    accuracy = text_of("docs/benchmarks.md").split(BEGIN.format("accuracy"))[1].split(END.format("accuracy"))[0]
    ours = next(line for line in accuracy.splitlines() if line.startswith("| **cumel CPU** |"))
    readme = text_of("README.md").split("## Accuracy")[1].split("##")[0]
    assert f"within {ours.split('|')[2].strip()} dB" in readme
    notes = (ROOT / "bench" / "notes.md").read_text(encoding="utf-8")
    for figure in re.findall(r"\b0\.\d+\b(?! M)", readme):
        assert figure in notes, f"README: {figure} is not in bench/notes.md"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https:)([^)\s]+)\)", sentences(page)):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.is_file(), f"{page}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page}: {target}"


@pytest.mark.skipif(not find_spec("mkdocs"), reason="the extra docs is not installed: make docs")
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    lacking = [name for name in cumel.__all__ if f'id="cumel.{name}"' not in reference]
    assert lacking == ["PRESETS", "RECIPES", "kaldi", "pretrained"], "docs/api.md names every public function and class"
