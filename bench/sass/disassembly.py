"""The machine code (SASS) of a kernel: basic blocks of instructions, each with its source lines.

NVRTC compiles, and nvdisasm, which comes with triton, disassembles. Neither needs a GPU.
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import networkx as nx
from cupy_backends.cuda.libs import nvrtc

from cumel.kernels.launcher import OPTIONS

REPORT = ("-ftz=true", "-lineinfo", "--ptxas-options=-v")  # CuPy flushes denormals as well
USED = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\D+Used (\d+) registers")
SOURCE_LINE = re.compile(r'//## File "[^"]*", line (\d+)')
LABEL = re.compile(r"^(\.L\w+):")
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
TARGET = re.compile(r"`\((\.L\w+)\)")


class Resources(NamedTuple):
    """What a thread uses, as the compiler reports it."""

    registers: int
    stack: int  # bytes
    spills: int  # bytes stored and loaded


class Instruction(NamedTuple):
    """One instruction of a warp."""

    guard: str  # the predicate under which it takes effect; empty when it always does
    name: str  # the name without suffixes, such as LDG
    suffixes: tuple[str, ...]
    operands: str
    lines: tuple[int, ...]  # source lines, innermost first: its own, then those of the calls it was inlined into


class Code(NamedTuple):
    """A kernel's machine code. It begins with block 0."""

    blocks: list[list[Instruction]]  # instructions that run one after another
    flow: nx.DiGraph  # block numbers; an edge leads to each block that may run next


def compile_text(text: str, arch: str) -> tuple[bytes, Resources]:
    """Compile CUDA C++ with one kernel in it to a cubin."""
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, *REPORT, f"-arch={arch}"))
    except nvrtc.NVRTCError as error:
        raise SystemExit(f"{arch}: {error}\n{nvrtc.getProgramLog(program)}") from None
    stack, stores, loads, registers = map(int, USED.search(nvrtc.getProgramLog(program)).groups())
    return nvrtc.getCUBIN(program) + b"\0", Resources(registers, stack, stores + loads)  # CuPy drops the last byte


def disassemble(cubin: bytes) -> Code:
    """Return the code of a cubin with one kernel in it."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_nvdisasm(), "-gi", "-c", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    blocks: list[list[Instruction]] = [[]]
    labels: dict[str, int] = {}
    joins: set[str] = set()  # labels that a BSSY names: there its BSYNC goes on
    lines: list[int] = []
    new_chain = True  # the next source line begins a new chain of inlined calls
    for text in listing.splitlines():
        if match := SOURCE_LINE.search(text):
            lines = [*([] if new_chain else lines), int(match[1])]
            new_chain = False
        elif match := LABEL.match(text):
            if blocks[-1]:
                blocks.append([])
            labels[match[1]] = len(blocks) - 1
        elif match := INSTRUCTION.search(text):
            new_chain = True
            name, *suffixes = match[2].split(".")
            instruction = Instruction(match[1] or "", name, tuple(suffixes), match[3].strip(), tuple(lines))
            blocks[-1].append(instruction)
            if name == "BSSY":
                joins.add(TARGET.search(instruction.operands)[1])
            if _ends_block(instruction):
                blocks.append([])
    return Code(blocks, _flow(blocks, labels, {labels[label] for label in joins}))


def _nvdisasm() -> str:
    triton = importlib.util.find_spec("triton")
    bundled = Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "nvdisasm" if triton else Path("nvdisasm")
    program = shutil.which(bundled) or shutil.which("nvdisasm")
    if not program:
        raise SystemExit("no nvdisasm: install triton, which torch for CUDA brings along")
    return program


def _ends_block(instruction: Instruction) -> bool:
    jumps = TARGET.search(instruction.operands) is not None and instruction.name not in ("BSSY", "CALL", "MOV")
    return jumps or instruction.name in ("EXIT", "RET", "BSYNC")


def _flow(blocks: list[list[Instruction]], labels: dict[str, int], joins: set[int]) -> nx.DiGraph:
    """Connect the blocks. A BSYNC goes on where its BSSY says, which must be the block behind it."""
    flow = nx.DiGraph()
    flow.add_nodes_from(range(len(blocks)))
    for index, block in enumerate(blocks):
        last = block[-1] if block else None
        falls_through = True
        if last and last.name == "BSYNC":
            assert index + 1 in joins, "a BSYNC does not go on with the block behind it"
        elif last and _ends_block(last):
            target = TARGET.search(last.operands)
            if target and last.name != "RET":
                flow.add_edge(index, labels[target[1]])
            falls_through = bool(last.guard) or (target is not None and not last.operands.startswith("`"))
        if falls_through and index + 1 < len(blocks):
            flow.add_edge(index, index + 1)
    return flow


def reachable(flow: nx.DiGraph, starts: Iterable[int], allowed: set[int]) -> set[int]:
    """Return the blocks that `starts` lead to, themselves among them, through `allowed` blocks alone."""
    inside = flow.subgraph(allowed)
    return {block for start in starts if start in inside for block in (start, *nx.descendants(inside, start))}


def dominators(flow: nx.DiGraph) -> dict[int, set[int]]:
    """Return, for each block that can be reached, the blocks on every way to it, itself among them."""
    nearest = nx.immediate_dominators(flow, 0)
    tree = nx.DiGraph((above, block) for block, above in nearest.items() if block != 0)
    tree.add_node(0)
    return {block: nx.ancestors(tree, block) | {block} for block in sorted(tree)}


def loops(flow: nx.DiGraph, dominators: dict[int, set[int]]) -> dict[int, set[int]]:
    """Return the blocks of each natural loop by its header."""
    bodies: dict[int, set[int]] = {}
    against = flow.reverse(copy=False)
    for block, above in dominators.items():
        for header in set(flow[block]) & above:
            body = reachable(against, [block], set(dominators) - {header})
            bodies.setdefault(header, {header}).update(body)
    return bodies
