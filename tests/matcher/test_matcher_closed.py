"""What DESIGN.md promises of the matcher: closed matches, backtracking, reasons for failures."""

from pathlib import Path
from typing import Any

import pytest

from onnx2mvit.lifter import lift
from onnx2mvit.matcher import Expr, Ops, Var, any_of, maybe
from onnx2mvit.matcher.bindings import Trace
from onnx2mvit.matcher.diagnosis import Explainer
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.registry import builtin_patterns, in_order
from onnx2mvit.matcher.rooted import Mismatch
from onnx2mvit.reader import read
from tests.support import graphs
from tests.support.sought import Form, Sought, failure, held, last, small


def two_sines(op: Ops, x: Var) -> Expr:
    return any_of(op.Sin(op.Sin(x, role="inner")), op.Sin(x))


@pytest.mark.parametrize(
    ("nodes", "outputs", "complaint"),
    [
        ("y = Sin(s) z = Cos(s)", "y z", "is used outside of it, by <Cos>"),
        ("y = Sin(s) a = Cos(s) b = Tan(s) c = Abs(s) d = Neg(s)", "y a b c d", "outside of it"),
        ("y = Sin(s)", "y s", "is an output of the graph"),
    ],
)
def test_a_value_needed_outside_is_not_swallowed(
    tmp_path: Path, nodes: str, outputs: str, complaint: str
) -> None:
    graph = small(tmp_path, f"s = Sin(x) {nodes}", outputs)
    short = held(graph, two_sines)
    assert short and short.inner is None
    found = failure(graph, lambda op, x: op.Sin(op.Sin(x)))
    assert "'s'" in found.reason and complaint in found.reason


def sine_of_row(op: Ops, x: Var) -> Expr:
    return op.Sin(op.Rearrange("b c h w -> b (c h w)", x))


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("r = Reshape(x, row) y = Sin(r) z = Cos(r)", "y z"),
        ("r = Reshape(x, row) y = Sin(r)", "y r"),
        ("a = Reshape(x, flat) r = Reshape(a, row) y = Sin(r) z = Cos(r)", "y a z"),
    ],
    ids=["read by another", "an output", "two in a row"],
)
def test_a_move_of_what_it_reads_stays_where_others_read_it(
    tmp_path: Path, nodes: str, outputs: str
) -> None:
    graph = small(tmp_path, nodes, outputs, row=[1, 144], flat=[4, 36])
    moves = [node for node in graph if node.op == "Reshape"]
    network = lift(graph, [Sought(sine_of_row, "Row")])
    assert [block.inputs for block in network.blocks] == [(moves[0].inputs[0],)]
    assert [node for node in network.graph if node.op == "Reshape"] == moves


def test_moves_alone_are_closed(tmp_path: Path) -> None:
    nodes = "t = Transpose<perm=[0,2,3,1]>(x) y = Reshape(t, tokens) z = Cos(t)"
    graph = small(tmp_path, nodes, "y z", tokens=[1, 36, 4])
    found = failure(graph, lambda op, x: op.Rearrange("b c h w -> b (h w) c", x))
    assert "'t' is used outside of it" in found.reason


def test_a_move_of_what_is_inside_is_closed(tmp_path: Path) -> None:
    graph = small(tmp_path, "a = Sin(x) r = Reshape(a, row) y = Sin(r)", "y r", row=[1, 144])
    found = failure(graph, lambda op, x: op.Sin(op.Rearrange("b c h w -> b (c h w)", op.Sin(x))))
    assert "'r' is an output of the graph" in found.reason


def test_a_value_used_by_many_inside_is_closed(tmp_path: Path) -> None:
    match = held(
        small(tmp_path, "s = Sin(x) t = Sin(s) y = Mul(s, t)"),
        lambda op, x: op.Mul((s := op.Sin(x)), op.Sin(s)),
    )
    assert match and len(match.nodes) == 3


def test_a_block_with_weights_has_one_role(tmp_path: Path) -> None:
    """An exporter wrote once what two layers with equal weights make of the same image."""
    convolution = [each for each in builtin_patterns() if each.kind == "Conv2D"]
    read_ = small(tmp_path, "c = Conv(x, w) y = Mul(c, c)", w=(4, 4, 1, 1))
    graph = lift(read_, convolution).graph

    class Nested(Sought):
        is_leaf = False

    def found(form: Form) -> str | None:
        trace = Trace("Sought")
        match = find(Nested(form), graph, last(graph), trace)
        return None if match or trace.furthest is None else trace.furthest.reason

    twice = found(lambda op, x: op.Mul(*(op.Conv2D(x, role=role) for role in ("one", "other"))))
    assert twice == "one and other are one block"
    assert found(lambda op, x: op.Mul((c := op.Conv2D(x, role="one")), c)) is None


def test_the_longer_alternative_is_taken_where_it_is_closed(tmp_path: Path) -> None:
    match = held(small(tmp_path, "s = Sin(x) y = Sin(s)"), two_sines)
    assert match and match.inner is not None


def test_a_mismatch_of_hyperparameters_lets_the_next_way_be_tried(tmp_path: Path) -> None:
    class Short(Sought):
        def params(self, m: Match) -> dict[str, Any]:
            if m.inner is not None:
                raise Mismatch("it is too long")
            return {}

    graph, trace = small(tmp_path, "s = Sin(x) y = Sin(s)"), Trace("Sought")
    found = find(Short(two_sines), graph, last(graph), trace)
    assert found and found[0].inner is None
    assert trace.furthest and trace.furthest.reason == "it is too long"


def test_a_failure_names_where_it_came_furthest_and_the_first_difference(tmp_path: Path) -> None:
    graph = small(tmp_path, "a = Tan(x) b = Cos(a) c = Sin(b) y = Sigmoid(c)")
    found = failure(
        graph,
        lambda op, x: any_of(
            op.Sigmoid(op.Cos(x)), op.Sigmoid(op.Sin(op.Cos(op.Abs(x), role="cos")))
        ),
    )
    assert found.node and found.node.op == "Tan"
    assert found.fitted == 3 and found.reason == "Abs expected, found <Tan>"


def test_a_whole_match_that_is_refused_came_further_than_a_part(tmp_path: Path) -> None:
    class Refused(Sought):
        def params(self, m: Match) -> dict[str, Any]:
            raise Mismatch("it is refused")

    graph, trace = small(tmp_path, "s = Sin(x) y = Cos(s)"), Trace("Sought")
    pattern = Refused(lambda op, x: op.Cos(op.Sin(maybe(op.Tan(x)))))
    assert find(pattern, graph, last(graph), trace) is None
    assert trace.furthest and trace.furthest.reason == "it is refused"


def test_what_no_pattern_took_is_explained(tmp_path: Path) -> None:
    patterns = in_order(
        [
            Sought(lambda op, x: op.Sigmoid(op.Sin(op.Cos(x))), "Long"),
            Sought(lambda op, x: op.Sigmoid(op.Abs(x)), "Short"),
        ]
    )
    network = lift(small(tmp_path, "a = Tan(x) b = Sin(a) y = Sigmoid(b)"), patterns)
    tan, sin, sigmoid = network.unrecognised
    explainer = Explainer(network.graph, network.patterns)
    for node in (tan, sin, sigmoid):
        assert str(explainer.closest(node)) == "Long: Cos expected, found <Tan>"


def test_what_no_pattern_is_like_has_no_explanation(tmp_path: Path) -> None:
    network = lift(small(tmp_path, "a = Tan(x) y = Sigmoid(a)"), in_order([Sought(two_sines)]))
    explainer = Explainer(network.graph, network.patterns)
    assert [explainer.closest(node) for node in network.unrecognised] == [None, None]


def test_a_value_without_a_known_shape_is_in_no_match(tmp_path: Path) -> None:
    body = "g (float[1,4,6,6] x) => (float y) { f = far.Away(x) y = Sin(f) }"
    made = graphs.model(body)
    made.opset_import.add(domain="far", version=1)
    graph = read(graphs.save(made, tmp_path))
    found = failure(graph, lambda op, x: op.Sin(x))
    assert found.reason == "the shape of 'f' is not known"
