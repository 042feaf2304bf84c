"""PTX text to the instructions and basic blocks of a kernel. What the kernels do not use is refused by name."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

LINE = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*);")
OPERAND = re.compile(r"\{[^}]*\}|\[[^]]*\]|[^,\s]+")
REGISTER = re.compile(r"%[a-z]+\d+")
DECLARATION = re.compile(r"\.reg \.(\w+)\s+(%[a-z]+)<\d+>;")
PARAMETER = re.compile(r"\.param (?:\.align \d+ )?\.(\w+) (?:\.ptr .*)?\b(\w+)(?:\[(\d+)\])?,?$", re.MULTILINE)
SHARED = re.compile(r"\.extern \.shared .* (\w+)\[\];")
REFUSED = re.compile(r"^\s*(\.(?:shared|local|const)\b.*)", re.MULTILINE)  # memory of a size that PTX itself says
WITHOUT_RESULT = ("st.", "bra", "bar", "membar", "ret")


class PtxError(RuntimeError):
    """A kernel broke a rule, or has something that is not supported here."""


def numpy_type(ptx_type: str) -> str:
    """Return the NumPy type of a PTX type; .b, of which PTX does not say more, counts as signed."""
    if ptx_type == "pred":
        return "?"
    if not re.fullmatch(r"[bsuf](8|16|32|64)", ptx_type):
        raise PtxError(f"not supported: a value .{ptx_type}")
    return {"b": "i", "s": "i", "u": "u", "f": "f"}[ptx_type[0]] + str(int(ptx_type[1:]) // 8)


class Parameter(NamedTuple):
    """What a launch has to give."""

    type: str  # NumPy's, of one element
    name: str
    n_bytes: int | None  # size of a struct passed by value


@dataclass(frozen=True)
class Instruction:
    """One line: `@guard op operands`."""

    guard: str  # the predicate's register, or nothing
    negated: bool
    op: str
    operands: tuple[str, ...]
    text: str

    @cached_property
    def parts(self) -> list[str]:
        """The name and its modifiers."""
        return self.op.split(".")

    @property
    def branches(self) -> bool:
        """Whether it may lead elsewhere than to the next line."""
        return self.op in ("bra", "bra.uni")

    @property
    def joins(self) -> bool:
        """Whether all lanes of a warp do it together."""
        return self.op.startswith(("shfl.sync", "vote.sync", "bar.warp.sync"))

    @property
    def waits(self) -> bool:
        """Whether it waits for all threads of a block."""
        return self.op == "bar.sync"

    @cached_property
    def reads(self) -> frozenset[str]:
        """Registers that it reads."""
        given = self.operands if self.op.startswith(WITHOUT_RESULT) else self.operands[1:]
        return frozenset(REGISTER.findall(" ".join((*given, self.guard))))

    @cached_property
    def writes(self) -> frozenset[str]:
        """Registers that it writes."""
        return (
            frozenset()
            if self.op.startswith(WITHOUT_RESULT)
            else frozenset(REGISTER.findall(" ".join(self.operands[:1])))
        )


class Program:
    """One kernel of a PTX module.

    Raises
    ------
    PtxError
        The module has no such kernel, or one that needs what is not supported.
    """

    def __init__(self, ptx: str, entry: str) -> None:
        head, found, rest = ptx.partition(f".entry {entry}(")
        if not found:
            raise PtxError(f"no entry {entry}")
        signature, _, rest = rest.partition("\n)")
        body = rest.partition("\n}")[0]
        if refused := REFUSED.search(head + body):
            raise PtxError(f"not supported: {refused[1]}")
        self.entry = entry
        self.parameters = [
            Parameter(numpy_type(kind), name, int(n_bytes) if n_bytes else None)
            for kind, name, n_bytes in PARAMETER.findall(signature)
        ]
        self.shared_arrays = SHARED.findall(head)
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self._types = {prefix: numpy_type(kind) for kind, prefix in DECLARATION.findall(body)}
        for line in body.splitlines():
            self._add(line.split("//")[0].strip())
        self.leaders = {0, *self.labels.values()}
        self.leaders |= {n + 1 for n, one in enumerate(self.code) if one.branches or one.waits or one.op == "ret"}
        joins = {n for n, one in enumerate(self.code) if one.joins}
        self._passed_on = self._read_first(self.leaders)
        self._passed_on_at_joins = self._passed_on | self._read_first(joins | {n + 1 for n in joins})

    def _add(self, line: str) -> None:
        if label := re.fullmatch(r"(\$?\w+):", line):
            self.labels[label[1]] = len(self.code)
        elif found := LINE.fullmatch(line):
            negated, guard, op, operands = found.groups()
            one = Instruction(guard or "", negated == "!", op, tuple(OPERAND.findall(operands)), line)
            if guard and not one.branches:
                raise PtxError(f"not supported: {line}")
            self.code.append(one)
        elif line and line[0] not in ".{":
            raise PtxError(f"not understood: {line}")

    def register_type(self, name: str) -> str:
        """Return the NumPy type of a register."""
        try:
            return self._types[name.rstrip("0123456789")]
        except KeyError:
            raise PtxError(f"not supported: register {name}") from None

    def block(self, start: int) -> range:
        """Return the instructions from one on to the end of its basic block."""
        stop = min(start + 1, len(self.code))
        while stop < len(self.code) and stop not in self.leaders:
            stop += 1
        return range(start, stop)

    def passed_on(self, *, at_joins: bool) -> set[str]:
        """Return the registers that blocks leave to others; `at_joins`: blocks that end at joint instructions too."""
        return self._passed_on_at_joins if at_joins else self._passed_on

    def _read_first(self, starts: set[int]) -> set[str]:
        """Return the registers that some block reads before it writes them."""
        found: set[str] = set()
        for start in starts:
            written: set[str] = set()
            for n in self.block(start):
                found |= self.code[n].reads - written
                written |= self.code[n].writes
        return found
