"""The README and the pages of docs/: their blocks of code, their commands, and whether a command exists as written."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import typer

from cumel.esc50.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
EVERYWHERE = {"--help", "--version"}  # options that typer adds


class Block(NamedTuple):
    """A block of code: its page, the line where it begins, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """Return the commands of a console block, without the comments behind them."""
        return [re.sub(r"\s+#.*", "", line[2:]) for line in self.text.splitlines() if line.startswith("$ ")]


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    text = text_of(page)
    return [Block(page, text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in FENCE.finditer(text)]


def sentences(page: str) -> str:
    """Return a page without its blocks."""
    return FENCE.sub("", text_of(page))


def inline(page: str) -> list[str]:
    """Return what stands between single backticks outside blocks."""
    return INLINE.findall(sentences(page))


def demand(true: bool, what: str) -> None:
    """Fail with what is wrong in a page."""
    if not true:
        raise AssertionError(what)


def check(command: str) -> None:
    """Fail unless the program, the files and the options that a command names are there."""
    for part in command.split(" | "):
        words = shlex.split(part)
        while "=" in words[0]:
            words.pop(0)
        program, arguments = words[0], words[1:]
        if program == "torchrun" or (program == "python" and arguments[:2] == ["-m", "cumel"]):
            arguments = arguments[arguments.index("cumel") + 1 :]
            program = "cumel"
        if program == "cumel":
            parse(arguments)
        elif program == "make":
            demand(set(_targets(arguments)) <= targets(), f"{command}: the Makefile has no such target")
        elif program == "pip":
            for extra in re.findall(r"[\w]+", "".join(re.findall(r"\[(.*?)\]", part))):
                demand(extra in extras(), f"{command}: pyproject.toml has no extra {extra}")
        elif program == "pytest" or (program == "python" and arguments[0] != "-m"):
            script(arguments, command)
        else:
            demand(program in {"arecord", "ffmpeg", "python"}, f"{command}: what is {program}?")


def parse(arguments: list[str]) -> None:
    """Let the command line parse a call; no command looks for its files while it is parsed."""
    name, *rest = arguments
    demand(name in COMMANDS.commands, f"cumel {name}: no such command")
    command = COMMANDS.commands[name]
    command.make_context(name, list(rest), parent=COMMANDS.make_context("cumel", [name]))


def script(arguments: list[str], command: str) -> None:
    """Fail unless a script or folders of tests are there, with the options that are given."""
    files = [word for word in arguments if word.startswith(("bench/", "tests/"))]
    for file in files:
        demand((ROOT / file).exists(), f"{command}: no {file}")
        for option in re.findall(r"--[a-z-]+", command):
            demand(option in (ROOT / file).read_text(encoding="utf-8"), f"{command}: {file} has no {option}")


def _targets(arguments: list[str]) -> Iterator[str]:
    return (word for word in arguments if "=" not in word)


@cache
def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split())


@cache
def extras() -> set[str]:
    """Return the extras of the package."""
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@cache
def options() -> set[str]:
    """Return every option of the commands, of the benchmarks and of the tests."""
    parameters = [parameter for command in COMMANDS.commands.values() for parameter in command.params]
    ours = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    sources = [*(ROOT / "bench").glob("*.py"), ROOT / "tests" / "conftest.py"]
    others = {name for path in sources for name in re.findall(r'"(--[a-z-]+)"', path.read_text(encoding="utf-8"))}
    return ours | others | EVERYWHERE
