"""Basic blocks of PTX as Python functions over NumPy arrays that hold a value per thread."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np

from ptx.access import Access
from ptx.arithmetic import OPERATIONS
from ptx.expressions import COMPARISONS, OF_FLOATS, OF_INTEGERS, ROUNDED
from ptx.program import OPERAND, Instruction, Program, PtxError, numpy_type

SHARED_BASE = 1 << 24  # where shared memory begins; no buffer lies there
SPECIAL = {"%tid.x": "wave.tid[at]", "%ctaid.x": "wave.ctaid[at]", "%ntid.x": "wave.ntid", "%nctaid.x": "wave.nctaid"}
Modifiers = dict[str, tuple[str, ...]]
MODIFIERS: Modifiers = {"f": ("ftz", "rn.ftz"), "i": ("", "lo"), "u": ("", "lo"), "?": ("",)}  # by type, done here
OWN_MODIFIERS: Modifiers = {"mov": ("",), "lg2": ("approx.ftz",), "cvta": ("to.global",)}  # by name
ATOMICS = ("add", "max", "exch")


class State(IntEnum):
    """What a thread does next."""

    RUNS = 0
    AT_JOIN = 1  # waits for its warp
    AT_BARRIER = 2  # waits for its block
    DONE = 3


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a basic block that threads go through in one."""

    instructions: tuple[Instruction, ...]
    run: Callable[
        [Any, Any], tuple[State, Any]
    ]  # takes the threads in flight, and which; returns their state and place


@cache
def translate(program: Program, start: int, whole_warps: bool) -> Block:
    """Translate from an instruction on; unless for whole warps, only as far as the first that a warp does together."""
    return _Translation(program, start, whole_warps).block()


class _Translation:
    """The statements of one block, as text."""

    def __init__(self, program: Program, start: int, whole_warps: bool) -> None:
        self.program = program
        self.statements: list[str] = []
        self.constants: dict[str, Any] = {}
        self.loaded: set[str] = set()
        self.written: dict[str, None] = {}  # in this order
        self.end = ""
        stop = start
        for n in program.block(start):
            one = program.code[n]
            if one.joins and not whole_warps:
                self.end = f"{State.AT_JOIN:d}, {n}"
                break
            stop = n + 1
            self.add(one, n)
        self.end = self.end or f"{State.RUNS:d}, {stop}"
        self.instructions = tuple(program.code[start:stop])
        kept = program.passed_on(at_joins=not whole_warps)
        self.kept = [name for name in self.written if name in kept]

    def block(self) -> Block:
        """Compile the statements."""
        loads = [f"{_local(name)} = wave.get({name!r}, at, {name in self.written})" for name in sorted(self.loaded)]
        stores = [f"wave.put({name!r}, at, {_local(name)})" for name in self.kept]
        body = "\n ".join([*loads, *self.statements, *stores, f"return {self.end}"])
        scope: dict[str, Any] = {**OPERATIONS, **self.constants, "np": np, "Access": Access}
        exec(compile(f"def block(wave, at):\n {body}\n", f"<ptx of {self.program.entry}>", "exec"), scope)
        return Block(self.instructions, scope["block"])

    def add(self, one: Instruction, n: int) -> None:
        """Add an instruction."""
        if one.branches:
            target, behind = self.program.labels[one.operands[0]], n + 1
            test = self.read(one.guard, "?") if one.guard else ""
            place = f"np.where({test}, {behind if one.negated else target}, {target if one.negated else behind})"
            self.end = f"{State.RUNS:d}, {place if test else target}"
        elif one.op == "ret":
            self.end = f"{State.DONE:d}, 0"
        elif one.waits and one.operands == ("0",):
            self.end = f"{State.AT_BARRIER:d}, {n}"
        else:
            name = one.parts[0]
            given = getattr(self, f"_{name}", self._computed)
            self.statements.append(given(one))

    def read(self, operand: str, dtype: str) -> str:
        """Return an expression for an operand as a NumPy type."""
        if operand in SPECIAL:
            return _as(SPECIAL[operand], "i4", dtype)
        if operand in self.program.shared_arrays:
            return self.constant(np.int64(SHARED_BASE))
        if not operand.startswith("%"):
            return self.constant(_literal(operand, dtype))
        if operand not in self.written:
            self.loaded.add(operand)
        return _as(_local(operand), self.program.register_type(operand), dtype)

    def write(self, register: str, expression: str, dtype: str) -> str:
        """Return the statement that gives a register a value of a NumPy type."""
        self.written[register] = None
        own = self.program.register_type(register)
        return f"{_local(register)} = {expression if own == dtype else _as(f'({expression})', dtype, own)}"

    def constant(self, value: Any) -> str:
        """Return a name for a value."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def access(self, one: Instruction) -> str:
        """Return an expression for what the checks know of an instruction."""
        return f"Access(wave, at, {self.constant(one)})"

    def address(self, operand: str) -> str:
        """Return an expression for what stands in brackets."""
        base, _, offset = operand.strip("[]").partition("+")
        return f"{self.read(base, 'i8')} + {int(offset)}" if offset else self.read(base, "i8")

    def _computed(self, one: Instruction) -> str:
        name, dtype = one.parts[0], numpy_type(one.parts[-1]) if one.operands else "?"
        templates = OF_FLOATS if dtype[0] == "f" else OF_INTEGERS
        modifiers = OWN_MODIFIERS.get(name, MODIFIERS[dtype[0]])
        if name not in templates or ".".join(one.parts[1:-1]) not in modifiers or dtype == "f8":
            raise _refused(one)
        given = (self.read(operand, dtype) for operand in one.operands[1:])
        return self.write(one.operands[0], templates[name].format(*given), dtype)

    def _mul(self, one: Instruction) -> str:
        how, dtype = one.parts[1], numpy_type(one.parts[-1])
        if how not in ("wide", "hi") or dtype[1] not in "24":
            return self._computed(one)
        wide = f"{dtype[0]}{2 * int(dtype[1])}"
        a, b = (f"{self.read(operand, dtype)}.astype({wide!r})" for operand in one.operands[1:])
        if how == "wide":
            return self.write(one.operands[0], f"{a} * {b}", wide)
        return self.write(one.operands[0], f"({a} * {b} >> {8 * int(dtype[1])}).astype({dtype!r})", dtype)

    def _shl(self, one: Instruction) -> str:
        dtype = numpy_type(one.parts[-1])
        sign = "<<" if one.parts[0] == "shl" else ">>"
        value, by = self.read(one.operands[1], dtype), self.read(one.operands[2], "u4")
        return self.write(one.operands[0], f"{value} {sign} {by}.astype({dtype!r})", dtype)

    _shr = _shl

    def _popc(self, one: Instruction) -> str:
        value = self.read(one.operands[1], numpy_type(one.parts[-1]))
        return self.write(one.operands[0], f"popc({value})", "i4")

    def _setp(self, one: Instruction) -> str:
        _, compare, *modifiers, kind = one.parts
        if compare not in COMPARISONS or modifiers not in ([], ["ftz"]) or "|" in one.operands[0]:
            raise _refused(one)
        dtype = numpy_type(kind)
        given = (self.read(operand, dtype) for operand in one.operands[1:])
        template = COMPARISONS["neu" if compare == "ne" and dtype[0] != "f" else compare]
        return self.write(one.operands[0], template.format(*given), "?")

    def _selp(self, one: Instruction) -> str:
        dtype = numpy_type(one.parts[-1])
        yes, no = (self.read(operand, dtype) for operand in one.operands[1:3])
        return self.write(one.operands[0], f"np.where({self.read(one.operands[3], '?')}, {yes}, {no})", dtype)

    def _cvt(self, one: Instruction) -> str:
        _, *modifiers, to, kind = one.parts
        to, dtype = numpy_type(to), numpy_type(kind)
        value, rounding = self.read(one.operands[1], dtype), [m for m in modifiers if m != "ftz"]
        if dtype[0] == "f" and to[0] != "f" and len(rounding) == 1 and rounding[0] in ROUNDED:
            value = f"to_integer({value}, {ROUNDED[rounding[0]]}, {to!r})"
        elif dtype[0] == "f" or (to[0] == "f") != (rounding == ["rn"]) or rounding not in ([], ["rn"]):
            raise _refused(one)
        return self.write(one.operands[0], f"{value}.astype({to!r})", to)

    def _ld(self, one: Instruction) -> str:
        _, space, *modifiers, kind = one.parts
        dtype, names = numpy_type(kind), OPERAND.findall(one.operands[0].strip("{}"))
        if not {"nc", "v2", "v4"}.issuperset(modifiers):
            raise _refused(one)
        if space == "param":
            name, _, offset = one.operands[1].strip("[]").partition("+")
            loaded = f"wave.parameter({name!r}, {int(offset or 0)}, {dtype!r}, {len(names)})"
        elif space in ("global", "shared"):
            loaded = (
                f"wave.{space}_memory.load("
                f"{self.access(one)}, {self.address(one.operands[1])}, {dtype!r}, {len(names)})"
            )
        else:
            raise _refused(one)
        parts = [self.write(name, f"loaded[{k}]", dtype) for k, name in enumerate(names)]
        return "; ".join([f"loaded = {loaded}", *parts])

    def _st(self, one: Instruction) -> str:
        _, space, *modifiers, kind = one.parts
        dtype = numpy_type(kind)
        if space not in ("global", "shared") or not {"v2", "v4"}.issuperset(modifiers):
            raise _refused(one)
        values = ", ".join(self.read(value, dtype) for value in OPERAND.findall(one.operands[1].strip("{}")))
        return f"wave.{space}_memory.store({self.access(one)}, {self.address(one.operands[0])}, {dtype!r}, ({values},))"

    def _atom(self, one: Instruction) -> str:
        _, space, how, *modifiers, kind = one.parts
        dtype = numpy_type(kind)
        if space != "global" or how not in ATOMICS or modifiers:
            raise _refused(one)
        value = self.read(one.operands[2], dtype)
        place = f"{self.address(one.operands[1])}, {dtype!r}"
        before = f"wave.global_memory.atomic({self.access(one)}, {how!r}, {place}, {value})"
        return self.write(one.operands[0], before, dtype)

    def _membar(self, one: Instruction) -> str:
        if one.op not in ("membar.gl", "membar.sys"):
            raise _refused(one)
        return f"wave.fence({self.access(one)})"

    def _bar(self, one: Instruction) -> str:
        if not one.op.startswith("bar.warp.sync"):
            raise _refused(one)
        return f"wave.warp_barrier({self.access(one)}, {self.read(one.operands[0], 'i4')})"

    def _vote(self, one: Instruction) -> str:
        if one.parts[2] != "ballot":
            raise _refused(one)
        given = f"{self.read(one.operands[1], '?')}, {self.read(one.operands[2], 'i4')}"
        return self.write(one.operands[0], f"wave.ballot({self.access(one)}, {given})", "i4")

    def _shfl(self, one: Instruction) -> str:
        to, _, valid = one.operands[0].partition("|")
        if one.parts[2] not in ("idx", "bfly") or any(valid in other.reads for other in self.program.code):
            raise _refused(one)
        given = ", ".join(self.read(operand, "i4") for operand in one.operands[1:])
        return self.write(to, f"wave.shuffle({self.access(one)}, {one.parts[2]!r}, {given})", "i4")


def _local(register: str) -> str:
    """Return the Python variable of a register."""
    return register[1:]


def _as(expression: str, dtype: str, to: str) -> str:
    """Return an expression of another type: the same bits, or, of another width, the same integer or its low bits."""
    if dtype == to:
        return expression
    return f"{expression}.{'view' if dtype[1:] == to[1:] else 'astype'}({to!r})"


def _literal(operand: str, dtype: str) -> Any:
    """Return a number of a NumPy type."""
    if dtype == "?":
        return np.bool_(int(operand, 0))
    if found := re.fullmatch(r"0f([0-9A-F]{8})", operand, re.IGNORECASE):
        return np.array(int(found[1], 16), "u4").view("f4").view(dtype)[()]
    bits = int(operand.rstrip("U"), 0) & (1 << 8 * np.dtype(dtype).itemsize) - 1
    return np.array(bits, f"u{dtype[1:]}").view(dtype)[()]


def _refused(one: Instruction) -> PtxError:
    """Return that the kernels had no need of this so far."""
    return PtxError(f"not supported: {one.text}")
