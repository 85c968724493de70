"""Where the convolutional blocks hold, and where they do not by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.texts import Text, conv, conv_silu, every, kinds, only, residual, silu

PLAIN = {
    "filters": 12, "kernel_size": 3, "strides": 1, "dilation": 1,
    "padding": None, "depthwise": False, "groups": 1, "use_bias": True,
}  # fmt: skip
BN = {"gamma": (12,), "beta": (12,), "mean": (12,), "var": np.ones(12)}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (conv("x", "y", 12, 8), {}),
        (conv("x", "y", 12, 8, bias=False), {"use_bias": False}),
        (conv("x", "y", 12, 8, 1), {"kernel_size": 1}),
        (conv("x", "y", 12, 8, attrs="strides=[2,2]"), {"strides": 2}),
        (conv("x", "y", 12, 8, attrs="dilations=[2,2], pads=[2,2,2,2]"), {"dilation": 2}),
        (conv("x", "y", 12, 8, group=4), {"groups": 4}),
        (conv("x", "y", 16, 8, group=8), {"filters": 16, "groups": 8}),
        (conv("x", "y", 8, 8, group=8), {"filters": 8, "depthwise": True}),
        (conv("x", "y", 8, 8, 5, group=8), {"filters": 8, "depthwise": True, "kernel_size": 5}),
    ],
)
def test_a_convolution(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    expected = PLAIN | changed
    if expected["kernel_size"] == 1:
        del expected["padding"]  # there is nothing to choose
    assert only(network, "ConvBnAct").params == expected | {
        "activation": None, "batch_norm": False,
    }  # fmt: skip
    each = changed.get("depthwise") or changed.get("groups") == 8
    leaf = "DepthwiseConv2D" if each else "Conv2D"
    assert only(network, leaf).params == expected
    assert not network.unrecognised


@pytest.mark.parametrize("strides", [(2, 1), (1, 2)])
def test_a_depthwise_convolution_of_unequal_steps(tmp_path: Path, strides: tuple[int, int]) -> None:
    text = conv("x", "y", 8, 8, 5, group=8, attrs=f"strides=[{strides[0]},{strides[1]}]")
    network = text.lifted(tmp_path)
    expected = {"filters": 8, "depthwise": True, "kernel_size": 5, "strides": strides}
    assert only(network, "UnevenDepthwiseConv2D").params == PLAIN | expected
    assert {leaf["kernel"].shape for leaf in [only(network, "UnevenDepthwiseConv2D").weights]} == {
        (5, 5, 1, 8)
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "y", 12, 8, attrs="strides=[2,1]"), "it is not depthwise"),
        (conv("x", "y", 8, 8, group=4, attrs="strides=[2,1]"), "it is not depthwise"),
        (conv("x", "y", 16, 8, group=8, attrs="strides=[2,1]"), "it is not depthwise"),
        (conv("x", "y", 8, 8, group=8, attrs="strides=[2,2]"), "strides is (2, 2)"),
        (conv("x", "y", 8, 8, group=8, attrs="strides=[3,1]"), "strides is (3, 1)"),
        (
            conv("x", "y", 8, 8, group=8, attrs="strides=[2,1], pads=[0,0,1,1]"),
            "it is not padded by half of its kernel on every side",
        ),
        (
            conv("x", "y", 8, 8, group=8, attrs='strides=[2,1], auto_pad="SAME_UPPER"'),
            "it is not padded by half of its kernel on every side",
        ),
    ],
)
def test_other_unequal_steps_are_none(tmp_path: Path, text: Text, reason: str) -> None:
    assert "UnevenDepthwiseConv2D" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "UnevenDepthwiseConv2D")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("x", "y", 12, 8).but("y_w", "w", w=(12, 8, 3, 1)), "(3, 1), not square"),
        (conv("x", "y", 12, 8, attrs="strides=[1,2]"), "strides (1, 2) differ"),
        (
            conv("x", "y", 12, 8, attrs="dilations=[1,2], pads=[1,2,1,2]"),
            "the dilations (1, 2) differ",
        ),
        (
            conv("x", "y", 12, 8, attrs="strides=[2,2], dilations=[2,2], pads=[2,2,2,2]"),
            "it has strides 2 and dilations 2",
        ),
        (
            conv("x", "y", 12, 8, attrs="pads=[0,0,1,1]"),
            "the padding is (0, 0, 1, 1): neither 1 on every side, nor none, nor TensorFlow's",
        ),
        (conv("x", "y", 12, 8, 1, attrs="pads=[1,1,1,1]"), "the padding is (1, 1, 1, 1)"),
        (conv("x", "y", 12, 8, attrs="pads=[1,1,2,2], strides=[2,2]"), "is (1, 1, 2, 2)"),
        (
            conv("x", "y", 12, 8, attrs='auto_pad="SAME_LOWER", strides=[2,2]'),
            "Keras has no SAME_LOWER",
        ),
        (conv("x", "y", 12, 8, 2), "the padding is (1, 1, 1, 1)"),
    ],
)
def test_what_keras_cannot_do_in_one_layer_is_no_convolution(
    tmp_path: Path, text: Text, reason: str
) -> None:
    assert not kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "Conv2D")


def test_a_kernel_that_is_computed_is_no_convolution(tmp_path: Path) -> None:
    text = Text("k = Sin(x)  y = Conv<pads=[3,3,3,3]>(x, k)")
    square = "float[2,2,7,7]"
    assert not kinds(text.lifted(tmp_path, image=square))
    assert text.reason(tmp_path, "Conv2D", image=square) == "kernel is not a constant"


@pytest.mark.parametrize(
    ("filters", "group", "reason"),
    [(16, 4, "its 4 groups have 2 channels each"), (8, 4, "its 4 groups have 2 channels each")],
)
def test_groups_of_several_channels_are_not_depthwise(
    tmp_path: Path, filters: int, group: int, reason: str
) -> None:
    text = conv("x", "y", filters, 8, group=group)
    assert kinds(text.lifted(tmp_path)) == {"ConvBnAct", "Conv2D"}
    assert text.reason(tmp_path, "DepthwiseConv2D") == reason


def batch_norm(x: str, y: str, attrs: str = "") -> Text:
    return Text(f"{y} = BatchNormalization{attrs}({x}, gamma, beta, mean, var)\n", BN)


def test_convolution_normalization_activation(tmp_path: Path) -> None:
    text = conv("x", "c", 12, 8, bias=False) + batch_norm(
        "c", "n", "<epsilon=0.001, momentum=0.99>"
    )
    network = (text + silu("n", "y")).lifted(tmp_path)
    assert only(network, "ConvBnAct").params == PLAIN | {
        "use_bias": False, "activation": "silu", "batch_norm": True,
        "bn_epsilon": 0.001, "bn_momentum": 0.99,
    }  # fmt: skip
    assert only(network, "BatchNorm").params == {"epsilon": 0.001, "momentum": 0.99}
    assert [child.role for child in only(network, "ConvBnAct").children] == ["conv", "bn", "act"]


def test_the_shorter_form_is_taken_where_the_longer_is_not_closed(tmp_path: Path) -> None:
    text = conv("x", "y", 12, 8, bias=False) + batch_norm("y", "n") + silu("n", "z")
    network = text.lifted(tmp_path, outputs="z y")
    assert [block.kind for block in network.blocks] == ["ConvBnAct", "BatchNorm", "Activation"]
    block = only(network, "ConvBnAct")
    assert not block.batch_norm and block.activation is None


def test_normalization_in_training_mode_is_none(tmp_path: Path) -> None:
    text = Text("y, m, v = BatchNormalization<training_mode=1>(x, g, g, g, g)", {"g": np.ones(8)})
    assert not kinds(text.lifted(tmp_path, outputs="y m v"))
    assert "training_mode is 1" in text.reason(tmp_path, "BatchNorm", outputs="y m v")


@pytest.mark.parametrize(
    ("strides", "filters", "nodes"),
    [(2, 8, "y = Identity(project)"), (1, 12, "y = Identity(project)"), (1, 8, None)],
)
def test_inverted_residual(tmp_path: Path, strides: int, filters: int, nodes: str | None) -> None:
    text = residual(strides, filters)
    network = (text.but("y = Add(x, project)", nodes) if nodes else text).lifted(tmp_path)
    assert [block.kind for block in network.blocks] == ["InvertedResidual"]
    assert only(network, "InvertedResidual").params == {
        "filters": filters, "expansion": 4, "strides": strides, "kernel_size": 3, "dilation": 1,
        "activation": "silu", "padding": None, "batch_norm": False, "use_bias": True,
    }  # fmt: skip
    assert not network.unrecognised


def test_inverted_residual_without_expansion(tmp_path: Path) -> None:
    text = conv_silu("x", "depthwise", 8, 8, group=8) + conv("depthwise", "project", 8, 8, 1)
    network = (text + Text("y = Add(project, x)")).lifted(tmp_path)
    block = only(network, "InvertedResidual")
    assert block.expansion is None and [child.role for child in block.children] == [
        "depthwise", "project",
    ]  # fmt: skip


ADD = "y = Add(x, project)"
EXPAND = "expand_c = Conv<pads=[0,0,0,0], group={}"
PROJECT = "project = Conv<pads=[0,0,0,0], group={}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (residual().but(ADD, "y = Sin(project)"), "the input is not added where it could be"),
        (
            Text("other = Sin(x)\n") + residual().but(ADD, "y = Add(other, project)"),
            "x is another value than before",
        ),
        (
            residual().but(ADD, "act = Relu(project)  y = Add(x, act)"),
            "project (ConvBnAct): activation is 'relu', not None",
        ),
        (
            residual().but("Mul(depthwise_c, depthwise_s)", "Relu(depthwise_c)"),
            "expand has activation 'silu', depthwise has 'relu'",
        ),
        (
            # With 3×3 pixels it would be ResNet's bottleneck.
            residual()
            .but("depthwise_c = Conv<pads=[1,1,1,1]", "depthwise_c = Conv<pads=[2,2,2,2]")
            .but("group=32", "group=16", depthwise_c_w=(32, 2, 5, 5)),
            "depthwise (ConvBnAct): depthwise is False, not True",
        ),
        (
            residual().but(PROJECT.format(1), PROJECT.format(2), project_w=(8, 16, 1, 1)),
            "project (ConvBnAct): groups is 2, not 1",
        ),
        (
            residual().but("(x, expand_c_w, expand_c_b)", "(x, expand_c_w)"),
            "expand has use_bias False, depthwise has True",
        ),
    ],
)
def test_no_inverted_residual_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    """What is left of it may be one without expansion: depthwise and 1×1 alone."""
    network = text.lifted(tmp_path)
    assert network.unrecognised
    assert {block.expansion for block in every(network, "InvertedResidual")} <= {None}
    assert text.reason(tmp_path, "InvertedResidual") == reason


def test_no_inverted_residual_around_an_output_of_the_graph(tmp_path: Path) -> None:
    network = residual().lifted(tmp_path, outputs="y expand")
    assert {block.expansion for block in every(network, "InvertedResidual")} <= {None}
    reason = residual().reason(tmp_path, "InvertedResidual", outputs="y expand")
    assert reason == "its inner value 'expand' is an output of the graph"


@pytest.mark.parametrize(
    "text",
    [
        residual().but(EXPAND.format(1), EXPAND.format(2), expand_c_w=(32, 4, 1, 1)),
        residual(filters=32)
        .but(PROJECT.format(1), PROJECT.format(32), project_w=(32, 1, 1, 1))
        .but(ADD, "y = Identity(project)"),
    ],
    ids=["expand in groups", "project depthwise"],
)
def test_no_inverted_residual_with_weights_that_would_not_fit(tmp_path: Path, text: Text) -> None:
    network = text.lifted(tmp_path)
    assert {block.expansion for block in every(network, "InvertedResidual")} <= {None}


def test_normalization_over_another_axis_than_the_channels_of_an_image(tmp_path: Path) -> None:
    text = Text("tokens = Reshape(x, flat)\n", {"flat": [2, 8, 64]}) + Text(
        "y = BatchNormalization(tokens, g, g, g, g)", {"g": np.ones(8)}
    )
    assert not kinds(text.lifted(tmp_path))
