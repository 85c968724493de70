"""How a rule is applied."""

from __future__ import annotations

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.match import matches, places
from onnx2mvit.matcher.rooted import Mismatch
from onnx2mvit.matcher.rule import Builder, Rule
from onnx2mvit.matcher.user_patterns import blamed


def apply_once(rule: Rule, graph: Graph) -> int:
    """Applies a rule wherever it holds, mostly from the output to the input; returns how often."""
    if not rule.concerns(graph):
        return 0
    with blamed(rule, places(rule, graph, rule.forward)) as roots:
        count = sum(_applied(rule, graph, root) for root in roots)
    if count:
        graph.applied[rule.name] += count
    return count


def _applied(rule: Rule, graph: Graph, root: Node) -> bool:
    for match in matches(rule, graph, root):
        new = Builder(root)
        try:
            value = rule.rewrite(match, new)
        except Mismatch:
            continue
        if not isinstance(value, tuple) and _further_outputs_are_used(graph, root):
            continue
        _replace(graph, root, value, new)
        return True
    return False


def _further_outputs_are_used(graph: Graph, root: Node) -> bool:
    return any(graph.consumers(value) or graph.is_output(value) for value in root.outputs[1:])


def _replace(graph: Graph, root: Node, value: Value | tuple[Value, ...], new: Builder) -> None:
    values = value if isinstance(value, tuple) else (value, *root.outputs[1:])
    for output, after in zip(root.outputs, values, strict=True):
        made = next((node for node in new.nodes if after in node.outputs), None)
        if made is not None:
            # The tensor keeps its name, by which it is found in the original file again.
            made.outputs = tuple(output if value is after else value for value in made.outputs)
        elif after is not output:
            graph.redirect(output, after)
    graph.remove(root)
    for node in new.nodes:
        graph.add(node)
