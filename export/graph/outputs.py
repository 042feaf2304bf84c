"""The outputs of a network's graph: probabilities, and what lies before them."""

from __future__ import annotations

from onnxscript import ir

from ...kernels import CumelError
from .interface import EMBEDDING, FEATURES_NAME, LOGITS, PROBABILITIES

OPERATORS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}
PASSED = ("Cast", "Identity")  # between the last layer and its activation
FLOAT = ir.DataType.FLOAT


def choose_outputs(graph: ir.Graph, names: tuple[str, ...], activation: str) -> None:
    """Give a graph the outputs of these names, in their order, each float32.

    Parameters
    ----------
    graph : Graph
        Ends in ``probabilities``, by the operator of `activation`. With "features", the front end is before it.
    names : tuple of str
        Some of `interface.OUTPUTS`.
    activation : {"softmax", "sigmoid", "none"}

    Raises
    ------
    CumelError
        For logits of a network that gives probabilities itself, for an embedding where the last layer is not linear,
        and for a network with an activation of its own before ours.
    """
    (probabilities,) = graph.outputs
    probabilities.name = PROBABILITIES
    found = {PROBABILITIES: probabilities}
    logits = None if activation == "none" else _before(probabilities, OPERATORS[activation])
    ends_in = None if logits is None else _made_by(logits)
    if ends_in in OPERATORS.values():
        raise CumelError(f"activation={activation}: the network ends in {ends_in} itself; give activation='none'")
    if LOGITS in names:
        if logits is None:
            raise CumelError("outputs: a network with activation='none' gives probabilities alone, and no logits")
        found[LOGITS] = _named(graph, logits, LOGITS)
    if EMBEDDING in names:
        found[EMBEDDING] = _named(graph, _embedding(probabilities if logits is None else logits), EMBEDDING)
    if FEATURES_NAME in names:
        found[FEATURES_NAME] = next(value for node in graph for value in node.outputs if value.name == FEATURES_NAME)
    for name, value in found.items():
        if name != FEATURES_NAME and value.shape is not None:  # After a Reshape the batch has a name of its own.
            value.shape = ir.Shape(["batch", *value.shape[1:]])
    graph.outputs[:] = [found[name] for name in names]


def _before(value: ir.Value, op: str) -> ir.Value:
    node = value.producer()
    if node is None or node.op_type != op or node.inputs[0] is None:
        raise CumelError(f"the graph does not end in {op}")
    return node.inputs[0]


def _made_by(value: ir.Value) -> str | None:
    """Return the operator that makes a value, through casts."""
    node = value.producer()
    while node is not None and node.op_type in PASSED and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return None if node is None else node.op_type


def _embedding(value: ir.Value) -> ir.Value:
    """Return what the last layer takes, which is a Gemm, or a MatMul with or without an Add."""
    node = value.producer()
    while node is not None:
        variable = [x for x in node.inputs if x is not None and x.producer() is not None]
        if node.op_type in ("Gemm", "MatMul") and variable == [node.inputs[0]]:
            return variable[0]
        if node.op_type not in (*PASSED, "Add", *OPERATORS.values()) or len(variable) != 1:
            break
        node = variable[0].producer()
    raise CumelError("outputs: the embedding is what the last linear layer takes, and this network does not end in one")


def _named(graph: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    """Return a value as a float32 output of a name."""
    if value.dtype in (FLOAT, None):
        value.name = name
        return value
    output = ir.Value(name=name, type=ir.TensorType(FLOAT), shape=value.shape)
    graph.append(ir.Node("", "Cast", [value], [ir.AttrInt64("to", FLOAT)], outputs=[output], name=name))
    return output
