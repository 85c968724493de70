"""What `inspect --graph` and `inspect --why` show those who write patterns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mvit.cli.inspect import graph_lines, why_lines
from onnx2mvit.errors import UsageError
from onnx2mvit.lowering import lower
from tests.support.command_line import Run
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, residual

NEARLY = residual().but("y = Add(x, project)", "a = Tanh(project)  y = Add(x, a)")


def test_a_line_for_every_block_says_what_it_reads(tmp_path: Path) -> None:
    text = conv("x", "c", 12, 8) + Text("n = Sin(c)  y = Mul(n, half)", {"half": 0.5})
    assert list(graph_lines(lower(text.lifted(tmp_path)).graph)) == [
        "   0  ConvBnAct(x)  filters=12, kernel_size=3, use_bias=True, batch_norm=False"
        "  → [2, 12, 8, 8]  conv_bn_act_0",
        "   1  Sin(0)  → [2, 12, 8, 8]",
        "   2  Mul(1, 0.5)  → [2, 12, 8, 8]",
    ]
    lines = list(graph_lines(text.read(tmp_path)))
    assert lines[0].startswith("   0  Conv(x, [12, 8, 3, 3], [12])  kernel_shape=(3, 3), ")


def saved(text: Text, folder: Path) -> Path:
    body = f"g (float[2,8,8,8] x) => (float y) {{ {text.nodes} }}"
    return save(model(body, **text.weights), folder)


def test_the_graph_is_that_of_the_blocks(run: Run, tmp_path: Path) -> None:
    assert run("inspect", saved(NEARLY, tmp_path), "--graph").out.startswith("   0  ConvBnAct(x)")


def test_why_a_pattern_does_not_hold_is_said_in_words(tmp_path: Path) -> None:
    first, second, *_ = why_lines(saved(NEARLY, tmp_path), "InvertedResidual")
    assert first == "InvertedResidual holds at 0 places"
    reason = "its project convolution is followed by tanh, and must not be"
    assert second == f"   1 ×  {reason}; first at y"


def test_where_it_holds_is_counted(tmp_path: Path) -> None:
    (line, *_) = why_lines(saved(residual(), tmp_path), "InvertedResidual")
    assert line == "InvertedResidual holds at 1 places"


def test_equal_reasons_come_once(filled: Callable[[str], Path]) -> None:
    first, *rest = why_lines(filled("timm-resnet18.dynamo.dynb"), "Bottleneck")
    assert first == "Bottleneck holds at 0 places"
    reasons = [line.partition("×")[2].partition(";")[0] for line in rest]
    assert reasons and len(reasons) == len(set(reasons))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Residual", "no pattern 'Residual': did you mean 'InvertedResidual'"),
        ("x", "no pattern 'x'; there are ASPP, "),
    ],
)
def test_an_unknown_kind_is_a_usage_error(kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        why_lines(saved(residual(), tmp_path), kind)
