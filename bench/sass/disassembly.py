"""What the compiler made of a kernel, as a graph of basic blocks whose instructions know their source lines.

NVRTC compiles and nvdisasm, which triton brings along, takes apart; neither needs a GPU.
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cupy_backends.cuda.libs import nvrtc

from cumel.kernels.launcher import OPTIONS

REPORT = ("-ftz=true", "-lineinfo", "--ptxas-options=-v")  # flushing denormals is CuPy's own option
USED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\D+Used (\d+) registers")
SOURCE_LINE = re.compile(r'//## File "[^"]*", line (\d+)')
LABEL = re.compile(r"^(\.L\w+):")
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
TARGET = re.compile(r"`\((\.L\w+)\)")


class Resources(NamedTuple):
    """What the compiler says that a thread uses."""

    registers: int
    stack: int  # bytes
    spills: int  # bytes stored and loaded


class Instruction(NamedTuple):
    """One instruction of a warp."""

    guard: str  # the predicate without which it does nothing; mostly empty
    name: str  # without its suffixes: LDG
    suffixes: tuple[str, ...]
    operands: str
    lines: tuple[int, ...]  # of the source, innermost first: where it stands, and whence that was called


@dataclass
class Block:
    """Instructions that run one after another."""

    instructions: list[Instruction] = field(default_factory=list)
    successors: set[int] = field(default_factory=set)


def compile_text(text: str, arch: str) -> tuple[bytes, Resources]:
    """Compile CUDA C++ with one kernel in it to a cubin."""
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, *REPORT, f"-arch={arch}"))
    except nvrtc.NVRTCError as error:
        raise SystemExit(f"{arch}: {error}\n{nvrtc.getProgramLog(program)}") from None
    stack, stores, loads, registers = map(int, USED.search(nvrtc.getProgramLog(program)).groups())
    return nvrtc.getCUBIN(program) + b"\0", Resources(registers, stack, stores + loads)  # CuPy takes off the last byte


def disassemble(cubin: bytes) -> list[Block]:
    """Return the basic blocks of a cubin's one kernel, in their order, the first of which is where it begins."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_nvdisasm(), "-gi", "-c", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    blocks, labels, meets = [Block()], {}, set()
    lines: list[int] = []
    fresh = True  # the next source line begins a new chain of calls
    for text in listing.splitlines():
        if at := SOURCE_LINE.search(text):
            lines = [*([] if fresh else lines), int(at[1])]
            fresh = False
        elif at := LABEL.match(text):
            if blocks[-1].instructions:
                blocks.append(Block())
            labels[at[1]] = len(blocks) - 1
        elif at := INSTRUCTION.search(text):
            fresh = True
            name, *suffixes = at[2].split(".")
            one = Instruction(at[1] or "", name, tuple(suffixes), at[3].strip(), tuple(lines))
            blocks[-1].instructions.append(one)
            if name == "BSSY":
                meets.add(TARGET.search(one.operands)[1])
            if _ends_block(one):
                blocks.append(Block())
    _connect(blocks, labels, meets)
    return blocks


def _nvdisasm() -> str:
    triton = importlib.util.find_spec("triton")
    beside = Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "nvdisasm" if triton else Path("nvdisasm")
    found = shutil.which(beside) or shutil.which("nvdisasm")
    if not found:
        raise SystemExit("no nvdisasm: it comes with triton, which torch for CUDA brings along")
    return found


def _ends_block(one: Instruction) -> bool:
    jumps = TARGET.search(one.operands) is not None and one.name not in ("BSSY", "CALL", "MOV")
    return jumps or one.name in ("EXIT", "RET", "BSYNC")


def _connect(blocks: list[Block], labels: dict[str, int], meets: set[str]) -> None:
    """Fill in the successors. A BSYNC goes on where its BSSY says, which must be right behind it."""
    joins = {labels[label] for label in meets}
    for index, block in enumerate(blocks):
        last = block.instructions[-1] if block.instructions else None
        if last and _ends_block(last) and last.name != "BSYNC":
            target = TARGET.search(last.operands)
            if target and last.name != "RET":
                block.successors.add(labels[target[1]])
            always = not last.guard and (not target or last.operands.startswith("`"))
        else:
            always = False
            assert not last or last.name != "BSYNC" or index + 1 in joins, "BSYNC that does not meet the code behind it"
        if not always and index + 1 < len(blocks):
            block.successors.add(index + 1)


def reached(blocks: list[Block], start: Iterable[int], allowed: set[int], *, backwards: bool = False) -> set[int]:
    """Return the blocks that `start` leads to, or that lead to it, through `allowed` ones alone."""
    edges: dict[int, set[int]] = {index: set() for index in range(len(blocks))}
    for index, block in enumerate(blocks):
        for successor in block.successors:
            edges[successor if backwards else index].add(index if backwards else successor)
    seen, waiting = set(), [index for index in start if index in allowed]
    while waiting:
        index = waiting.pop()
        if index not in seen:
            seen.add(index)
            waiting += edges[index] & allowed
    return seen


def dominators(blocks: list[Block]) -> dict[int, set[int]]:
    """Return, for each block that can be reached, the blocks that every way to it goes through, itself among them."""
    live = reached(blocks, [0], set(range(len(blocks))))
    before = {index: [p for p in live if index in blocks[p].successors] for index in live}
    found = {index: {0} if index == 0 else set(live) for index in live}
    changed = True
    while changed:
        changed = False
        for index in sorted(live - {0}):
            new = {index} | set.intersection(*(found[p] for p in before[index]))
            changed |= new != found[index]
            found[index] = new
    return found


def loops(blocks: list[Block], dominated: dict[int, set[int]]) -> dict[int, set[int]]:
    """Return the blocks of each natural loop by its header."""
    found: dict[int, set[int]] = {}
    for index, above in dominated.items():
        for header in blocks[index].successors & above:
            inside = set(dominated) - {header}
            found.setdefault(header, {header}).update(reached(blocks, [index], inside, backwards=True))
    return found
