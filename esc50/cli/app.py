"""The command line put together, and what its errors and exit codes are."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from typing import Annotated

import typer
from typer.main import get_command_name

from ...kernels import CumelError
from ...kernels.cores import tell_openmp
from ..system import NO_MEMORY, device_fault
from . import show
from .bench import bench
from .data import convert, download, extract, plot, synth, verify
from .doctor import doctor
from .frontend import frontend
from .helping import Command, Commands, complete_values
from .models import export, predict, web
from .options import ManyValues
from .training import cross_validate, evaluate, train

COMPLETION = "_CUMEL_COMPLETE"  # what a shell sets when it asks for completions

app = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="rich")


def _version(shown: bool) -> None:
    if shown:
        from importlib.metadata import version

        print(version("cumel"))
        raise typer.Exit


@app.callback(help="Recordings to log-mel features on the GPU, to a trained CNN, to ONNX.")
def options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Take the options that stand before a command."""


for command in (
    synth, download, extract, convert, verify, train, evaluate, cross_validate, export, frontend, predict, web, plot,
    bench, doctor,
):  # fmt: skip
    if COMPLETION in os.environ:
        complete_values(get_command_name(command.__name__), command)
    app.command(cls=ManyValues if command is export else Command)(command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 some inputs failed, 2 wrong call, 3 something missing."""
    tell_openmp()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not fit the terminal's encoding
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"cumel: {message}", file=sys.stderr)
        code, error = _run(arguments)
    if error:
        print(f"cumel: {error}", file=sys.stderr)
        if "--json" in arguments:
            show.as_json({"error": error, "exit_code": code})
    return code


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run a command; returns the exit code and, where it ended early, why."""
    if "" in arguments:
        return 2, "an argument is empty; check the variables in the call"  # an empty path would mean this folder
    try:
        code = app(arguments, prog_name="cumel", standalone_mode=False, obj=arguments)
    except SystemExit as error:
        piped = isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE
        return 0 if piped else int(error.code or 0), ""
    except (CumelError, ImportError) as error:
        from .extras import of_command

        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        fault = of_command(error, command) if isinstance(error, ImportError) else error
        if not isinstance(fault, CumelError):
            raise
        return fault.exit_code, " ".join(str(fault).split())
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        place = context.command_path if context else "cumel"
        return error.exit_code, f"{error.format_message().rstrip('.')} (`{place} --help` says more)"
    except (typer.Abort, KeyboardInterrupt) as error:
        return 130, f"interrupted{': ' if str(error.__cause__ or '') else ''}{error.__cause__ or ''}"
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, ""
    except OSError as error:
        from ..system import REMEDIES

        remedy = REMEDIES.get(error.errno or 0, "check the place and its free space")
        return 2, f"{error.filename or 'a file'}: {error.strerror or error}; {remedy}"
    except Exception as error:
        fault = device_fault(error)  # CuPy's out of memory is a MemoryError too, of another memory
        if fault is not None:
            return fault.exit_code, " ".join(str(fault).split())
        if isinstance(error, MemoryError):
            return 2, NO_MEMORY
        raise
    return (code if isinstance(code, int) else 0), ""
