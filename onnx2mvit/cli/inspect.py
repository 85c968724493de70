"""`onnx2mvit inspect`: what is in a file, and why a pattern does not hold in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnx2mvit.cli.console import print_json, results, show_lines
from onnx2mvit.cli.options import Debug, Json, Outputs, Patterns
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Value

if TYPE_CHECKING:
    from onnx2mvit.matcher.diagnosis import Explanation

SHOWN = 20  # reasons


def inspect(
    file: Annotated[Path, typer.Argument(help="An ONNX file.", readable=False)],
    as_json: Json = False,
    depth: Annotated[int, typer.Option(help="Levels of the tree to show; 0 shows all.", min=0)] = 0,
    graph: Annotated[bool, typer.Option("--graph", help="Show which block reads which.")] = False,
    why: Annotated[str | None, typer.Option(help="Say why a kind is not found where.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why no pattern took what is left, or NODE.")
    ] = False,
    node: Annotated[
        str | None,
        typer.Argument(help="With --explain: a node, an output, a module or a block of the file."),
    ] = None,
    outputs: Outputs = None,
    patterns: Patterns = None,
    debug: Debug = False,
) -> None:
    """Show the tree of blocks in an ONNX file, and what no pattern took. Needs no Keras.

    \b
    Examples:
      onnx2mvit inspect exported_onnx/mobilevit_xs.onnx --depth 2
      onnx2mvit inspect exported_onnx/mobilevit_xs.onnx --json
    """
    from onnx2mvit import inspect as run
    from onnx2mvit.cli.show import show_network
    from onnx2mvit.matcher.diagnosis import explanations
    from onnx2mvit.reports import describe, leftovers

    if node is not None and not explain:
        raise UsageError(f"{node!r} is to be explained: add --explain")
    if why is not None:
        with results():
            show_lines(why_lines(file, why, patterns or (), outputs or ()))
        return
    network = run(file, patterns or (), outputs=outputs or ())
    with results() as console:
        if graph:
            show_lines(graph_lines(network.graph))
        elif explain and as_json:
            print_json([each.as_dict() for each in explanations(network, node)])
        elif explain:
            show_lines(explain_lines(explanations(network, node)))
        elif as_json:
            print_json(describe(network) | {"leftovers": leftovers(network)})
        else:
            show_network(console, network, depth)


def graph_lines(graph: Graph) -> Iterator[str]:
    """One line for each node or block: number, what it reads, attributes, shape, torch's module.

    `7  Add(5, 2)  → [3, 64, 56, 56]  layer1.0` adds what lines 5 and 2 make. A constant is its
    shape, or its value if it is a single number; what is as usual is left out.
    """
    from onnx2mvit.reports.wording import shown_params

    nodes = list(graph)
    numbers = {value: str(i) for i, node in enumerate(nodes) for value in node.outputs}
    for number, node in enumerate(nodes):
        reads = ", ".join(_operand(value, numbers) for value in node.inputs)
        usual = node.pattern.usual() if isinstance(node, Block) else {}
        given = {key: value for key, value in node.attrs.items() if value is not None}
        shown = shown_params(given, usual)
        shape = list(node.output.shape) if node.output.shape is not None else "?"
        where = node.name if isinstance(node, Block) else node.scope
        parts = [f"{number:4}", f"{node.op}({reads})", shown, f"→ {shape}", where]
        yield "  ".join(part for part in parts if part)


def _operand(value: Value | None, numbers: dict[Value, str]) -> str:
    if value is None:
        return "-"
    if value.const is None:
        return numbers.get(value, value.name)
    return f"{value.const.item():g}" if value.const.size == 1 else str(list(value.const.shape))


def why_lines(
    file: Path, kind: str, own: Sequence[Path] = (), outputs: Sequence[str] = ()
) -> list[str]:
    """How often a pattern holds, and what keeps it from holding elsewhere, the closest first.

    Args:
        file: an ONNX file.
        kind: the pattern.
        own: files with patterns of one's own.
        outputs: tensors at which the file is cut; none for all of it.

    Raises:
        UsageError: there is no pattern of this kind.
    """
    from onnx2mvit.lifter import lift
    from onnx2mvit.lowering import lower
    from onnx2mvit.matcher.diagnosis import failures, in_words, made_of, place_of
    from onnx2mvit.matcher.registry import of_kind
    from onnx2mvit.matcher.user_patterns import all_patterns, own_rules
    from onnx2mvit.reader import read

    every = all_patterns(own)
    wanted = of_kind(kind, every)
    parts = made_of(wanted, every)
    graph = lower(lift(read(file, rules=own_rules(every), outputs=outputs), [*parts, wanted])).graph
    reasons: dict[str, list[str]] = {}
    for node, failure in failures(graph, wanted):
        reasons.setdefault(in_words(failure), []).append(place_of(node))
    first = f"{kind} holds at {len(graph.of([kind]))} places"
    told = reasons.items()
    return [first, *(f"{len(at):4} ×  {reason}; first at {at[0]}" for reason, at in told)]


def explain_lines(found: Sequence[Explanation]) -> Iterator[str]:
    """Equal explanations together, the most frequent first."""
    groups: dict[tuple[str, ...], list[Explanation]] = {}
    if not found:
        yield "every node lies in a block"
        return
    for each in found:
        same = each.fate, each.pattern, each.difference, *([] if each.pattern else [each.node.op])
        groups.setdefault(same, []).append(each)
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    for group in ordered[:SHOWN]:
        first = group[0]
        ops = ", ".join(sorted({each.node.op for each in group}))
        many = f"{len(group)} × {ops}, first at" if len(group) > 1 else ops
        yield f"{many} {first.place}: {first.fate}"
        yield f"    {first.sentence()}"
    if len(ordered) > SHOWN:
        rest = sum(map(len, ordered[SHOWN:]))
        yield f"… and {len(ordered) - SHOWN} more reasons, of {rest} nodes (--json lists all)"
