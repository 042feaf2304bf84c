"""The extras of the installed package: which are complete, for `cumel doctor`, and which one a command needs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING

from ...kernels import MissingExtraError, need
from ...kernels.extras import explained, extra_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "cumel"
FOR_TESTS = "dev"
CUDA = ("gpu", "gpu12")  # extras that exclude each other
CPU_RUNTIME, CUDA_RUNTIME = "onnxruntime", "onnxruntime-gpu"  # The second does all that the first one does.

Check = tuple[str, str, str]  # name, state (ok, missing or bad), text


def examine_extras() -> list[Check]:
    """Compare what each extra of the installed package asks for with what is there; of gpu and gpu12 one may be."""
    try:
        extras = distribution(PACKAGE).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return [("extras", "missing", f"{PACKAGE} runs from its folder, so nobody knows; `pip install --editable .`")]
    checks = {extra: _check(extra) for extra in extras if extra != FOR_TESTS}
    if any(extra in checks and checks[extra][1] == "ok" for extra in CUDA):
        checks = {extra: check for extra, check in checks.items() if extra not in CUDA or check[1] == "ok"}
    return list(checks.values())


def _check(extra: str) -> Check:
    name = f"{PACKAGE}[{extra}]"
    lacking, other = [], []
    for requirement in requirements(extra):
        number = installed(requirement.name)
        if number is None and requirement.name == CPU_RUNTIME:
            number = installed(CUDA_RUNTIME)
        if number is None:
            lacking.append(requirement.name)
        elif not requirement.specifier.contains(number, prereleases=True):
            other.append(f"{requirement.name} is {number}, and has to be {requirement.specifier}")
    faults = [f"lacks {', '.join(lacking)}"] * bool(lacking) + other
    first = f"pip uninstall {CPU_RUNTIME}, then " if CUDA_RUNTIME in lacking and installed(CPU_RUNTIME) else ""
    upgrade = "--upgrade " if other else ""  # pip then asks an index for cumel too
    text = f"{'; '.join(faults)}: {first}pip install {upgrade}'{name}'"
    return (name, "missing", text) if faults else (name, "ok", "complete")


def of_command(error: ImportError, command: str) -> ImportError:
    """Name the extra of a command in an error, unless it is of a part whose extra the command's does not include."""
    part = f"{__package__}.{command}"
    if isinstance(error, MissingExtraError) and error.extra not in _included(extra_of(part) or ""):
        return error
    return explained(error, part)


def _included(extra: str) -> set[str]:
    """Return an extra and those in it; none where the package is not installed."""
    try:
        inner = {name for requirement in _declared(extra) if requirement.name == PACKAGE for name in requirement.extras}
    except PackageNotFoundError:
        return set()
    return {extra}.union(*map(_included, inner))


def requirements(extra: str) -> list[Requirement]:
    """List what an extra installs on this machine, with what the extras in it install."""
    found = [requirement for name in _included(extra) for requirement in _declared(name)]
    packages = {requirement.name: requirement for requirement in found if requirement.name != PACKAGE}
    return [packages[name] for name in sorted(packages, key=str.lower)]


def _declared(extra: str) -> list[Requirement]:
    """List what the package declares for an extra on this machine."""
    every = map(need("packaging.requirements", __name__).Requirement, distribution(PACKAGE).requires or ())
    return [each for each in every if each.marker is not None and each.marker.evaluate({"extra": extra})]


def installed(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
