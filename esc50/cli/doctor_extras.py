"""The extras' part of `cumel doctor`: which are complete, and what the others lack."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "cumel"
FOR_TESTS = "dev"
CUDA = ("gpu", "gpu12")  # extras that exclude each other
CPU_RUNTIME, CUDA_RUNTIME = "onnxruntime", "onnxruntime-gpu"  # The second does all that the first one does.

Check = tuple[str, str, str]  # name, state (ok, note or bad), text


def examine_extras() -> list[Check]:
    """Compare what each extra of the installed package asks for with what is there; of gpu and gpu12 one may be."""
    try:
        extras = distribution(PACKAGE).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return [("extras", "note", f"{PACKAGE} runs from its folder, so nobody knows; `pip install --editable .`")]
    checks = {extra: _check(extra) for extra in extras if extra != FOR_TESTS}
    if any(extra in checks and checks[extra][1] == "ok" for extra in CUDA):
        checks = {extra: check for extra, check in checks.items() if extra not in CUDA or check[1] == "ok"}
    return list(checks.values())


def _check(extra: str) -> Check:
    name, faults = f"{PACKAGE}[{extra}]", []
    for requirement in requirements(extra):
        number = installed(requirement.name)
        if number is None and requirement.name == CPU_RUNTIME:
            number = installed(CUDA_RUNTIME)
        if number is None:
            faults.append(f"lacks {requirement.name}")
        elif not requirement.specifier.contains(number, prereleases=True):
            faults.append(f"has {requirement.name} {number}, not {requirement.specifier}")
    first = f"pip uninstall {CPU_RUNTIME}, then " if f"lacks {CUDA_RUNTIME}" in faults and installed(CPU_RUNTIME) else ""
    remedy = f"{first}pip install --upgrade '{name}'"
    return (name, "note", f"{', '.join(faults)}: {remedy}") if faults else (name, "ok", "complete")


def requirements(extra: str) -> list[Requirement]:
    """List what an extra installs on this machine, with what the extras in it install."""
    found = {requirement.name: requirement for requirement in _declared(extra)}
    return [found[name] for name in sorted(found, key=str.lower)]


def _declared(extra: str) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for text in distribution(PACKAGE).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name != PACKAGE:
            yield requirement
        for inner in requirement.extras if requirement.name == PACKAGE else ():
            yield from _declared(inner)


def installed(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return version(package) if package else None
    except PackageNotFoundError:
        return None
