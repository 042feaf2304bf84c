"""Nodes and constants of a graph as they are written, and sizes that are numbers or values of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxscript import ir

from .interface import OPSET

IR_VERSION = 8  # that of opsets 17 and 18; ONNX Runtime before 1.18 refuses the 10 of torch's exporter
PREFIX = "frontend/"  # beginning of the nodes' names

Size = int | ir.Value  # a number, or int64 [1] where it is known only when the graph runs


class Tape:
    """Writes nodes one after another; a NumPy array among the inputs becomes a constant of the graph."""

    def __init__(self, opset: int = OPSET) -> None:
        self._tape = ir.tape.Tape()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._opset = opset

    def __call__(self, op: str, *inputs: ir.Value | NDArray, name: str | None = None, **attributes: Any) -> ir.Value:
        """Add a node and return its output, named `name` or after the operator."""
        values = [x if isinstance(x, ir.Value) else self._constant(x) for x in inputs]
        output = ir.Value(name=name or f"{PREFIX}{op}_{len(self.nodes)}")
        self._tape.op(op, values, attributes, name=f"{PREFIX}{op}_{len(self.nodes)}", output=output)
        return output

    def extreme(self, op: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add a ReduceMax or ReduceMin that keeps its axes, which opset 18 takes as an input."""
        if self._opset < 18:
            return self(op, x, axes=list(axes), keepdims=1)
        return self(op, x, ints(*axes), keepdims=1)

    def sum(self, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add a ReduceSum that keeps its axes."""
        return self("ReduceSum", x, ints(*axes), keepdims=1)

    def slice(self, x: ir.Value, start: Any, stop: Any, axis: int, step: int = 1) -> ir.Value:
        """Add a Slice of one axis."""
        return self("Slice", x, *(ints(i) if isinstance(i, int) else i for i in (start, stop, axis, step)))

    def shape(self, *sizes: Size) -> ir.Value | NDArray:
        """Return a shape of sizes, which is a constant when all of them are numbers."""
        numbers = [size for size in sizes if isinstance(size, int)]
        if len(numbers) == len(sizes):
            return ints(*numbers)
        return self("Concat", *(ints(size) if isinstance(size, int) else size for size in sizes), axis=0)

    def size(self, op: str, a: Size, b: int) -> Size:
        """Compute ``a + b`` or ``a * b`` by the operator Add or Mul."""
        if isinstance(a, int):
            return {"Add": a + b, "Mul": a * b}[op]
        return self(op, a, ints(b))

    def _constant(self, x: NDArray) -> ir.Value:
        key = (x.dtype.str, x.shape, x.tobytes())
        if key not in self._constants:
            name = f"{PREFIX}constant_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(ir.tensor(x, name=name))
        return self._constants[key]

    @property
    def nodes(self) -> list[ir.Node]:
        """The nodes so far."""
        return list(self._tape.nodes)

    @property
    def constants(self) -> list[ir.Value]:
        """The constants so far."""
        return list(self._tape.initializers)


def ints(*values: int) -> NDArray[np.int64]:
    """Return a constant of whole numbers."""
    return np.array(values, dtype=np.int64)


def number(value: float) -> NDArray[np.float32]:
    """Return a constant of one number."""
    return np.array(value, dtype=np.float32)
