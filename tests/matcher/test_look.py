"""What those who write patterns look at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mvit.cli.look import lines_of, look, made_of, why_not
from onnx2mvit.errors import UsageError
from onnx2mvit.lowering.lower import lower
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, residual

NEARLY = residual().but("y = Add(x, project)", "a = Tanh(project)  y = Add(x, a)")


def test_a_line_for_every_block_says_what_it_reads(tmp_path: Path) -> None:
    text = conv("x", "c", 12, 8) + Text("n = Sin(c)  y = Mul(n, half)", {"half": 0.5})
    assert list(lines_of(lower(text.lifted(tmp_path)).graph)) == [
        "   0  ConvBnAct(x)  filters=12, kernel_size=3, use_bias=True, batch_norm=False"
        "  → [2, 12, 8, 8]  conv_bn_act_0",
        "   1  Sin(0)  → [2, 12, 8, 8]",
        "   2  Mul(1, 0.5)  → [2, 12, 8, 8]",
    ]
    lines = list(lines_of(text.read(tmp_path)))
    assert lines[0].startswith("   0  Conv(x, [12, 8, 3, 3], [12])  kernel_shape=(3, 3), ")


def test_why_a_pattern_does_not_hold(tmp_path: Path) -> None:
    count, failures = why_not(NEARLY.read(tmp_path), "InvertedResidual")
    assert count == 0
    assert failures[0][1].reason == "project (ConvBnAct): activation is 'tanh', not None"
    assert failures[0][0].op == "Add"
    assert why_not(residual().read(tmp_path), "InvertedResidual")[0] == 1


def test_the_lines_count_equal_reasons(tmp_path: Path) -> None:
    body = f"g (float[2,8,8,8] x) => (float y) {{ {NEARLY.nodes} }}"
    file = save(model(body, **NEARLY.weights), tmp_path)
    first, second, *_ = look(file, "InvertedResidual")
    assert first == "InvertedResidual holds at 0 places"
    reason = "project (ConvBnAct): activation is 'tanh', not None"
    assert second == f"   1 ×  {reason}; first at y"
    assert next(iter(look(file, None))).startswith("   0  ConvBnAct(x)")


def test_reasons_that_differ_in_the_module_alone_are_equal(filled: Callable[[str], Path]) -> None:
    lines = list(look(filled("timm-resnet18.dynamo.dynb"), "Bottleneck"))
    assert lines[0] == "Bottleneck holds at 0 places"
    assert not [line for line in lines if "<ConvBnAct " in line or "<Conv " in line]


def test_an_unknown_kind_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pattern 'Residual'; there are Activation, "):
        why_not(residual().read(tmp_path), "Residual")


def test_what_a_pattern_is_made_of_comes_before_it() -> None:
    every = {pattern.kind: pattern for pattern in builtin_patterns()}
    kinds = [pattern.kind for pattern in made_of(every["InvertedResidual"])]
    assert kinds.index("Conv2D") < kinds.index("ConvBnAct") < kinds.index("SqueezeExcite")
    assert "InvertedResidual" not in kinds and "Bottleneck" not in kinds
