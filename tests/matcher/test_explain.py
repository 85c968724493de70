"""What no pattern took is explained: the closest pattern, how far it came, and the difference."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mvit import inspect
from onnx2mvit.cli.inspect import explain_lines
from onnx2mvit.errors import UsageError
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.diagnosis import explanations, failures, in_words, made_of
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.command_line import Run
from tests.support.graphs import model, save
from tests.support.texts import Text, mobilevit, residual

LAST = "y = Add(x, project)"
TANH = residual().but(LAST, "a = Tanh(project)  y = Add(x, a)")
SOFTMAX = mobilevit(1).but("Softmax<axis=-1>", "Softmax<axis=-2>")


CASES = [
    (TANH, 1, "Bottleneck", "its convolution has group 32 for 32 channels: it is depthwise"),
    (SOFTMAX, 13, "MultiHeadAttention", "its Softmax has axis -2, not -1"),
    (SOFTMAX, 13, "Unfold", "no larger block took it"),
    (residual().but(LAST, "y = Add(x, x)"), 1, "", ""),
    (residual().but(LAST, "a = Add(x, x)  b = Add(a, x)  y = Add(b, a)"), 3, "", ""),
    (residual().but(LAST, "y = Transpose<perm=[0,1,3,2]>(x)"), 1, "", ""),
    (
        residual().but(LAST, "a = Identity(project)  y = GridSample(a, grid)", grid=(2, 4, 4, 2)),
        1,
        "",
        "",
    ),
    (residual().but(LAST, "y = Sub(x, project)"), 1, "", ""),
]


@pytest.mark.parametrize(("text", "least", "pattern", "difference"), CASES)
def test_the_closest_pattern_and_the_first_difference_are_told(
    tmp_path: Path, text: Text, least: int, pattern: str, difference: str
) -> None:
    network = lower(text.lifted(tmp_path))
    found = explanations(network)
    assert len(found) >= least
    assert [each for each in found if each.pattern == pattern and difference in each.difference]


NEAR = [
    ("InvertedResidual", TANH, "its project convolution is followed by tanh, and must not be"),
    (
        "InvertedResidual",
        residual().but("group=32", "group=8").having(depthwise_c_w=(32, 4, 3, 3)),
        "its depthwise convolution has group 8 for 32 channels: it is not depthwise, and must be",
    ),
    (
        "MobileViTBlock",
        mobilevit(1).but("Concat<axis=1>(x, project)", "Concat<axis=1>(project, x)"),
        "its project convolution is missing: its place is taken by an input or a constant",
    ),
]


@pytest.mark.parametrize(("kind", "text", "words"), NEAR)
def test_details_are_in_words(tmp_path: Path, kind: str, text: Text, words: str) -> None:
    """The block's own parts alone are applied."""
    every = builtin_patterns()
    (pattern,) = [each for each in every if each.kind == kind]
    graph = lift(text.read(tmp_path), [*made_of(pattern, every), pattern]).graph
    assert in_words(failures(graph, pattern)[0][1]) == words


def test_what_a_pattern_is_made_of_comes_before_it() -> None:
    every = {pattern.kind: pattern for pattern in builtin_patterns()}
    kinds = [part.kind for part in made_of(every["InvertedResidual"], list(every.values()))]
    assert kinds.index("Conv2D") < kinds.index("ConvBnAct") < kinds.index("SqueezeExcite")
    assert "InvertedResidual" not in kinds and "Bottleneck" not in kinds


def test_looking_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = lower(TANH.lifted(tmp_path))
    before = list(network.graph)
    explanations(network)
    assert list(network.graph) == before
    made = {value for node in before for value in node.outputs}
    assert all(network.graph.producer(value) in before for value in made)


def test_equal_explanations_come_once(filled: Callable[[str], Path]) -> None:
    network = inspect(filled("timm-vit_tiny_patch16_224.dynamo.dynb"))
    assert list(explain_lines(explanations(network))) == ["every node lies in a block"]


def test_the_command_line_explains_a_node_by_any_of_its_names(run: Run, tmp_path: Path) -> None:
    body = f"g (float[2,8,8,8] x) => (float y) {{ {SOFTMAX.nodes} }}"
    file = save(model(body, **SOFTMAX.weights), tmp_path)
    ran = run("inspect", file, "--explain", "a_share")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "Softmax a_share: a single operator",
        "    MultiHeadAttention: 4 nodes fit, then its Softmax has axis -2, not -1 (at a_share)",
    ]
    (told,) = json.loads(run("inspect", file, "--explain", "--json", "a_share").out)
    assert told["pattern"] == "MultiHeadAttention" and told["fitted"] == 4
    assert "×" in run("inspect", file, "--explain").out
    ran = run("inspect", file, "--explain", "local_c")
    assert ran.code == 2 and "lies in the ConvBnAct conv_bn_act_0" in ran.err
    assert run("inspect", file, "--explain", "nowhere").code == 2
    assert run("inspect", file, "a_share").code == 2


def test_a_name_that_is_nowhere_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no node, module or block is called 'z'"):
        explanations(lower(TANH.lifted(tmp_path)), "z")
