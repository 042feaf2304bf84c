"""The help of every command: fast, with examples that the parser takes, as wide as the screen; and completion."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from rich.text import Text

from cumel.esc50.cli import main
from cumel.esc50.cli.app import COMPLETION, app
from cumel.esc50.cli.bench import TOPICS
from cumel.esc50.cli.helping import EXAMPLES, VALUES
from cumel.esc50.extraction.job import KINDS
from cumel.esc50.store import conversion
from cumel.esc50.training.distributed import ENGINES
from cumel.esc50.training.recipes import CHOICES, RECIPES
from cumel.export.graph.metadata import INPUTS, PRECISIONS
from cumel.export.prediction import raw_stream, rows
from cumel.export.runtime.providers import PROVIDERS
from cumel.kernels import PRESETS

COMMANDS = typer.main.get_command(app).commands
SLOW = ("numpy", "pydantic", "torch", "onnx", "onnxruntime", "librosa", "matplotlib", "pyarrow", "soundfile")
RUN = "import sys; from cumel.esc50.cli import main; code = main(sys.argv[1:]); "
NO_COLOR = {"NO_COLOR": "1", "TERM": "xterm"}
CALLS = [(name, line) for name, lines in EXAMPLES.items() for line in lines]
SHELLS = ("bash", "zsh", "fish")
LISTS = {  # what an option can name; most of these lists come with torch, for which --help does not wait
    ("bench", "topic"): TOPICS,
    ("convert", "to"): conversion.FORMATS,
    ("cross-validate", "recipe"): RECIPES,
    ("export", "input"): INPUTS,
    ("export", "precision"): PRECISIONS,
    ("extract", "features"): KINDS,
    ("predict", "dtype"): raw_stream.DTYPES,
    ("predict", "format"): rows.ROW_FORMATS,
    ("predict", "preset"): PRESETS,
    ("predict", "provider"): PROVIDERS,
    ("train", "parallel"): ENGINES,
    ("train", "precision"): CHOICES["precision"],
    ("train", "recipe"): RECIPES,
}


def cumel(*arguments: str, then: str = "sys.exit(code)", **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN + then, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, check=False)


@pytest.mark.parametrize("command", ["", "extract", "predict", "doctor", "train"])
def test_help_waits_for_nothing(command: str) -> None:
    """On a quiet core it takes 0.18 to 0.25 s of CPU time, of which Python's own start is 0.02 s."""
    then = f"print('loaded', {{*{SLOW!r}}} & {{*sys.modules}})"
    done = cumel(*command.split(), "--help", then=then)
    assert done.stdout.splitlines()[-1] == "loaded set()"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def helps(command: str) -> dict[str, str]:
    """Return the texts of a command's help: its own, and one for each parameter."""
    texts = {param.name: param.help for param in COMMANDS[command].params} | {command: COMMANDS[command].help}
    return {str(name): str(text) for name, text in texts.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_bracket_of_a_help_is_taken_for_markup(command: str) -> None:
    for text in helps(command).values():
        assert Text.from_markup(text).plain == text.replace(r"\[", "[")


def test_the_help_names_the_extra_of_the_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # the sentence on one line
    assert main(["extract", "--help"]) == 0
    assert "pip install 'cumel[ray]'" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "option"), LISTS)
def test_a_help_names_all_that_can_be_given(command: str, option: str) -> None:
    words = re.findall(r"[\w-]+", helps(command)[option])
    assert set(LISTS[command, option]) - set(words) == set()


def test_every_command_has_examples() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(1 <= len(lines) <= 3 for lines in EXAMPLES.values())


@pytest.mark.parametrize(("command", "line"), CALLS)
def test_an_example_is_a_call(command: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser takes it, every value is one of those that there are, and the help shows it whole."""
    *_, (program, name, *arguments) = (shlex.split(part) for part in line.split(" | "))
    assert (program, name) == ("cumel", command)
    context = COMMANDS[command].make_context(command, arguments)
    named = {param: value for param, value in context.params.items() if (command, param) in LISTS}
    assert {param: value for param, value in named.items() if value not in {*LISTS[command, param], None}} == {}
    assert main([command, "--help"]) == 0
    assert line in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("command", ["", "extract", "doctor"])
def test_help_is_as_wide_as_the_screen(command: str, columns: int) -> None:
    done = cumel(*command.split(), "--help", COLUMNS=str(columns), **NO_COLOR)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "<bool>" not in done.stdout


@pytest.mark.parametrize("columns", [40, 200])
def test_a_table_is_as_wide_as_the_screen(columns: int) -> None:
    done = cumel("doctor", COLUMNS=str(columns), **NO_COLOR)
    assert "\x1b" not in done.stdout
    widest = max(len(line.rstrip()) for line in done.stdout.splitlines())
    assert (widest <= columns) if columns == 40 else widest > 60


@pytest.mark.parametrize("command", ["nosuch", "extract"])
def test_an_error_is_a_plain_line(command: str) -> None:
    done = cumel(command, COLUMNS="40", **NO_COLOR)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"cumel: [^\x1b\n]+\n", done.stderr)


def complete(shell: str, line: str) -> list[str]:
    variables = {
        COMPLETION: f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    words = line.split(" ")
    bash = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)} if shell == "bash" else {}
    done = cumel(**variables, **bash)
    assert done.stderr == ""
    return re.findall(r"[\w-]+", done.stdout.replace("_arguments '*: :", ""))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str) -> None:
    assert complete(shell, "cumel cross")[:1] == ["cross-validate"]
    assert complete(shell, "cumel extract --preset whi") == ["whisper", "whisper128"]
    assert complete(shell, "cumel extract --retr")[:1] == ["--retry-errors"]


def test_an_empty_word_is_completed() -> None:
    assert complete("bash", "cumel export run --precision ") == ["fp32", "fp16", "int8"]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_can_be_shown(shell: str) -> None:
    source = cumel(**{COMPLETION: f"source_{shell}"}).stdout
    assert COMPLETION in source
    assert f"complete_{shell}" in source


@pytest.mark.parametrize(("command", "option"), [key for key in LISTS if key[1] != "topic"])
def test_what_is_completed_is_what_there_is(command: str, option: str) -> None:
    assert {*VALUES.get((command, option), VALUES.get(option, ()))} == {*LISTS[command, option]}
