"""The blocks of MobileNets and EfficientNets, and what looks like them."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import Text, conv, conv_silu, every, kinds, only, residual, silu

USUAL = {"padding": None, "batch_norm": False, "use_bias": True}


def squeeze_excite(x: str, y: str, channels: int, gate: str = "Sigmoid", bias: bool = True) -> Text:
    return (
        Text(f"{y}_pool = GlobalAveragePool({x})\n")
        + conv(f"{y}_pool", f"{y}_r", 4, channels, 1, bias=bias)
        + Text(f"{y}_a = Relu({y}_r)\n")
        + conv(f"{y}_a", f"{y}_e", channels, 4, 1, bias=bias)
        + Text(f"{y}_g = {gate}({y}_e)  {y} = Mul({y}_g, {x})\n")
    )


def mbconv(strides: int = 1, filters: int = 8, **how: Any) -> Text:
    """An inverted residual, 8 channels expanded to 32, with squeeze and excitation."""
    steps = f"strides=[{strides},{strides}]"
    text = (
        conv_silu("x", "expand", 32, 8, 1)
        + conv_silu("expand", "depthwise", 32, 32, 5, group=32, attrs=steps)
        + squeeze_excite("depthwise", "se", 32, **how)
        + conv("se", "project", filters, 32, 1)
    )
    return text + Text(
        "y = Add(project, x)" if (strides, filters) == (1, 8) else "y = Identity(project)"
    )


HARD = "HardSigmoid<alpha=0.16666667>"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (mbconv(), {}),
        (mbconv(2, 12), {"filters": 12, "strides": 2}),
        (mbconv(gate=HARD), {"squeeze_gate": "hard_sigmoid"}),
        (mbconv(bias=False), {"squeeze_bias": False}),
    ],
)
def test_an_inverted_residual_with_squeeze_and_excitation(
    tmp_path: Path, text: Text, changed: dict[str, Any]
) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("InvertedResidual", {
        "filters": 8, "expansion": 4, "strides": 1, "kernel_size": 5, "dilation": 1,
        "activation": "silu", "squeeze": 4, "squeeze_activation": "relu",
        "squeeze_gate": "sigmoid", "squeeze_bias": True, **USUAL, **changed,
    })  # fmt: skip
    assert [child.role for child in block.children] == ["expand", "depthwise", "se", "project"]
    assert not network.unrecognised


def test_it_may_do_without_expansion(tmp_path: Path) -> None:
    text = (
        conv_silu("x", "d", 8, 8, group=8)
        + squeeze_excite("d", "se", 8)
        + conv("se", "y", 12, 8, 1)
    )
    block = only(text.lifted(tmp_path), "InvertedResidual")
    assert (block.expansion, block.squeeze, block.filters) == (None, 4, 12)


def bn(x: str, y: str, momentum: float) -> Text:
    channels = 8 if y == "p" else 32
    return Text(
        f"{y} = BatchNormalization<momentum={momentum}>({x}, g{y}, g{y}, g{y}, v{y})\n",
        {f"g{y}": (channels,), f"v{y}": [1.0] * channels},
    )


def normalized(expand: float, depthwise: float, project: float) -> Text:
    """An inverted residual whose normalizations have these momenta."""
    return (
        conv("x", "a", 32, 8, 1, bias=False) + bn("a", "e", expand) + silu("e", "b")
        + conv("b", "c", 32, 32, group=32, bias=False) + bn("c", "d", depthwise) + silu("d", "f")
        + conv("f", "h", 8, 32, 1, bias=False) + bn("h", "p", project)
        + Text("y = Add(x, p)")
    )  # fmt: skip


def test_the_first_normalization_may_have_a_momentum_of_its_own(tmp_path: Path) -> None:
    block = only(normalized(0.9, 0.99, 0.99).lifted(tmp_path), "InvertedResidual")
    assert (block.bn_momentum, block.expand_momentum) == (0.99, 0.9)
    block = only(normalized(0.9, 0.9, 0.9).lifted(tmp_path), "InvertedResidual")
    assert block.bn_momentum == 0.9 and "expand_momentum" not in block.params
    text = normalized(0.9, 0.9, 0.99)
    assert "Add" in {node.op for node in text.lifted(tmp_path).unrecognised}
    reason = text.reason(tmp_path, "InvertedResidual")
    assert reason == "depthwise has bn_momentum 0.9, project has 0.99"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            mbconv().but("Mul(se_g, depthwise)", "Mul(se_g, expand)"),
            "depthwise (ConvBnAct) expected, found <Mul>",
        ),
        (
            mbconv().but("se_g = Sigmoid", "se_g = Tanh"),
            "depthwise (ConvBnAct) expected, found <Mul>",
        ),
    ],
)
def test_no_such_block_with_another_gate(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path)
    assert "InvertedResidual" not in kinds(network)
    assert text.reason(tmp_path, "InvertedResidual") == reason


def separable(middle: str = "act = Relu(deep)\n", end: str = "y = Relu(point)", **how: Any) -> Text:
    text = conv("x", "deep", 8, 8, group=8, **how) + Text(middle)
    return text + conv("act", "point", 12, 8, 1) + Text(end)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (separable(), {}),
        (separable(attrs="strides=[2,2]"), {"strides": 2}),
        (separable(attrs="dilations=[2,2], pads=[2,2,2,2]"), {"dilation": 2}),
        (separable(middle="act = Identity(deep)\n"), {"depthwise_activation": None}),
        (
            separable(end="y = HardSwish(point)"),
            {"activation": "hard_silu", "depthwise_activation": "relu"},
        ),
    ],
)
def test_a_depthwise_separable_convolution(
    tmp_path: Path, text: Text, changed: dict[str, Any]
) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("DepthwiseSeparable", {
        "filters": 12, "strides": 1, "kernel_size": 3, "dilation": 1,
        "activation": "relu", "depthwise_activation": "relu", **USUAL, **changed,
    })  # fmt: skip
    assert [child.role for child in block.children] == ["depthwise", "pointwise"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (separable(end="y = Identity(point)"), "pointwise (ConvBnAct): activation is None"),
        (
            separable().having(deep_w=(8, 2, 3, 3)).but("group=8", "group=4"),
            "depthwise (ConvBnAct): depthwise is False, not True",
        ),
        (
            separable().but("Conv<pads=[0,0,0,0]", "Conv<pads=[1,1,1,1]", point_w=(12, 8, 3, 3)),
            "pointwise (ConvBnAct): kernel_size is 3, not 1",
        ),
        (
            separable().but("(act, point_w, point_b)", "(act, point_w)"),
            "depthwise has use_bias True, pointwise has False",
        ),
    ],
)  # fmt: skip
def test_no_depthwise_separable_convolution_by_one_detail(
    tmp_path: Path, text: Text, reason: str
) -> None:
    assert "DepthwiseSeparable" not in kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "DepthwiseSeparable") == reason


def test_an_inverted_residual_is_no_depthwise_separable_convolution(tmp_path: Path) -> None:
    assert kinds(residual().lifted(tmp_path)).isdisjoint({"DepthwiseSeparable", "FusedMBConv"})


def fused(strides: int = 1, filters: int = 8, expanded: int = 32, squeeze: bool = False) -> Text:
    steps = f"strides=[{strides},{strides}]"
    text = conv_silu("x", "expand", expanded, 8, 3, attrs=steps)
    if squeeze:
        text += squeeze_excite("expand", "se", expanded)
    text += conv("se" if squeeze else "expand", "project", filters, expanded, 1)
    return text + Text(
        "y = Add(project, x)" if (strides, filters) == (1, 8) else "y = Identity(project)"
    )


ALONE = conv_silu("x", "only", 8, 8, 3) + Text("y = Add(only, x)")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (fused(), {}),
        (fused(2, 12), {"strides": 2, "filters": 12}),
        (fused(1, 12, 48), {"filters": 12, "expansion": 6}),
        (
            fused(squeeze=True),
            {
                "squeeze": 4, "squeeze_activation": "relu",
                "squeeze_gate": "sigmoid", "squeeze_bias": True,
            },
        ),
        (ALONE, {"expansion": None}),
        (
            fused().but("group=1 ,strides", "group=2 ,strides").having(expand_c_w=(32, 4, 3, 3)),
            {"groups": 2},
        ),
    ],
)  # fmt: skip
def test_a_fused_block(tmp_path: Path, text: Text, changed: dict[str, Any]) -> None:
    network = text.lifted(tmp_path)
    (block,) = network.blocks
    assert (block.kind, block.params) == ("FusedMBConv", {
        "filters": 8, "expansion": 4, "strides": 1, "kernel_size": 3, "activation": "silu",
        "groups": None, **USUAL, **changed,
    })  # fmt: skip
    assert not network.unrecognised


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # the end of a bottleneck
        (fused(1, 32, 8), "it expands 8 to 8"),
        (fused(2, 48), "it expands 8 to 32"),
        (
            fused().but("Add(project, x)", "Identity(project)"),
            "the input is not added where it could be",
        ),
        (ALONE.but("Add(only, x)", "Identity(only)"), "add (Add) expected, found <ConvBnAct>"),
        (
            Text("other = Sin(x)\n") + ALONE.but("Add(only, x)", "Add(only, other)"),
            "x is another value than before",
        ),
        (
            conv_silu("x", "only", 8, 8, 1) + Text("y = Add(only, x)"),
            "project (ConvBnAct) expected, but <x [2, 8, 8, 8]> is an input or a constant",
        ),
        (
            conv("x", "only", 8, 8, 3) + Text("y = Add(only, x)"),
            "project (ConvBnAct) expected, but <x [2, 8, 8, 8]> is an input or a constant",
        ),
        (
            fused().but("(expand, project_w, project_b)", "(expand, project_w)"),
            "expand has use_bias True, project has False",
        ),
    ],
)  # fmt: skip
def test_no_fused_block_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    network = text.lifted(tmp_path)
    assert not every(network, "FusedMBConv")
    assert text.reason(tmp_path, "FusedMBConv") == reason
