"""SiLU in a network, and hard swish in its place where that is asked for.

Hard swish, x · relu6(x + 3) / 6, is never farther from SiLU, x · sigmoid(x), than 0.143, and one
operator where that is two (MobileNetV3, arXiv:1905.02244, section 5.2). It is another function all
the same: a network in which it takes SiLU's place must learn to do with it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.expr import Literal
from onnx2mvit.lifter.head import own_head

if TYPE_CHECKING:
    from onnx2mvit.ir.graph import Graph, Node
    from onnx2mvit.ir.network import Network

SILU, HARD_SWISH = "silu", "hard_silu"  # Keras's names


def has_silu(network: Network) -> bool:
    """Whether blocks or single operators of a network compute SiLU."""
    return SILU in _functions(network)


def check_silu(network: Network) -> None:
    """Raises UsageError if there is no SiLU that hard swish could take the place of."""
    if not has_silu(network):
        others = ", ".join(dict.fromkeys(_functions(network))) or "none"
        raise UsageError(
            f"{network.graph.source.file} has no SiLU in whose place hard swish could stand: its "
            f"activations are {others}"
        )


def own_arguments(network: Network, hard_activations: bool) -> dict[str, Any]:
    """The arguments of the model function that give what the file has, whatever the defaults.

    `hard_activations` says that the function takes an activation.
    """
    return own_head(network) | ({"activation": SILU} if hard_activations else {})


def with_hard_swish(graph: Graph) -> Graph:
    """A graph of operators with hard swish in the place of SiLU, of the same values."""
    made = graph.with_nodes(map(partial(_swapped, graph), graph))
    made.sweep()
    return made


def _swapped(graph: Graph, node: Node) -> Node:
    gates = [graph.producer(value) for value in node.inputs] if node.op == "Mul" else []
    for x, gate in zip(reversed(node.inputs), gates, strict=False):
        if gate is not None and gate.op == "Sigmoid" and gate.inputs == (x,):
            return replace(node, op="HardSwish", inputs=(x,), attrs={})
    if node.op == "Swish" and node.attrs.get("alpha", 1.0) == 1.0:
        return replace(node, op="HardSwish", attrs={})
    return node


def _functions(network: Network) -> list[str]:
    """The activations of blocks and single operators, by Keras's names."""
    blocks = [block for top in network.blocks for block in top.walk()]
    named = [value for block in blocks for key, value in block.params.items() if _names(key, value)]
    exprs = [block.code.expr for block in network.blocks if block.code is not None]
    written = [each for expr in exprs for each in expr.find(Literal) if each.value == SILU]
    return [*named, *(each.value for each in written)]


def _names(key: str, value: object) -> bool:
    return key.endswith("activation") and isinstance(value, str)
