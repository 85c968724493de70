"""Convolutions over images, and with what usually follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.kernels import conv_kernel, depthwise_kernel
from onnx2mvit.ir.window import Pads, Window, window_of
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    kind_of,
    maybe,
    optional,
    p,
    require,
)

from .layers import approximate_gelu

if TYPE_CHECKING:
    from keras import KerasTensor, layers


UNEVEN = ((2, 1), (1, 2))  # strides of networks that read lines of text


def square(window: Window) -> tuple[int, int, int]:
    """Size, stride and dilation of a window that has one of each for both axes."""
    (size, *other_sizes) = window.size
    (stride, *other_strides) = window.strides
    (dilation, *other_dilations) = window.dilations
    require(set(other_sizes) == {size}, f"the window is {window.size}, not square")
    require(set(other_strides) == {stride}, f"the strides {window.strides} differ")
    require(set(other_dilations) == {dilation}, f"the dilations {window.dilations} differ")
    return size, stride, dilation


def geometry(m: Match) -> dict[str, Any]:
    """The hyperparameters of a kernel, and how the image is padded."""
    window = window_of(m.conv)
    if around := around_rectangle(window):
        return {"kernel_size": around, "strides": 1, "dilation": 1, "padding": None}
    size, stride, dilation = square(window)
    require(min(stride, dilation) == 1, f"it has strides {stride} and dilations {dilation}")
    geometry = {"kernel_size": size, "strides": stride, "dilation": dilation}
    # A single pixel at a time needs no padding by any rule.
    needless = size == 1 and not window.padded
    return geometry | ({} if needless else {"padding": padding(m, window)})


def around_rectangle(window: Window) -> tuple[int, ...] | None:
    """The size of a kernel that is not square, if it keeps the size of the image."""
    halves = [size // 2 for size in window.size]
    steps = {*window.strides, *window.dilations}
    odd = all(size % 2 for size in window.size) and len(set(window.size)) > 1
    padded = not window.pads_by_size and list(window.onnx_pads) == halves + halves
    return tuple(window.size) if steps == {1} and odd and padded else None


def padding(m: Match, window: Window) -> str | Pads | None:
    """Keras's "same" or "valid", or None for dilation · ⌊(kernel - 1) / 2⌋ all around (PyTorch).

    What a file for images of every size pads otherwise, it pads so at every size: those numbers.
    """
    size, stride, dilation = square(window)
    if window.pads_by_size:
        require(window.same, f"Keras has no {window.auto_pad}")
        return "same"
    around = dilation * ((size - 1) // 2)
    # Without a stride even kernels would make the image smaller.
    usual = around > 0 and set(window.onnx_pads) == {around} and (size % 2 == 1 or stride > 1)
    otherwise = size > 1 and window.padded and not (usual or window.same)
    if m.graph.source.dynamic_size and otherwise:
        return window.pads
    same = window.pads_as_same(m.shape("x", 4)[2:])
    require(
        usual or not window.padded or same,
        f"the padding is {window.onnx_pads}: neither {around} on every side, nor none, nor "
        "TensorFlow's",
    )
    if same and (m.graph.pads_like_tensorflow or not (usual or not window.padded)):
        return "same"
    return None if usual else "valid"


def several_groups(group: int) -> bool:
    """The condition on `group` for a convolution that does not see all channels."""
    return group > 1


USUAL = {
    **{"strides": 1, "dilation": 1, "padding": None},
    **{"depthwise": False, "groups": 1, "use_bias": False},
}


class DepthwiseConv2D(Pattern):
    """A convolution of every channel by itself (MobileNets, arXiv:1704.04861, section 3.1).

    It makes one channel of each, or several: then it is said to be in as many groups.

    ONNX Conv (operator versions 1, 11, 22) with group = channels, kernel (C·m, 1, k, k);
    Keras DepthwiseConv2D, kernel (k, k, C, m).
    """

    layer = "DepthwiseConv2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        kernel, bias = constant("kernel", rank=4), optional("bias", rank=1)
        return op.Conv(x, kernel, bias, role="conv", group=several_groups)

    def usual(self) -> dict[str, Any]:
        return USUAL

    def params(self, m: Match) -> dict[str, Any]:
        filters, per_group, _, _ = m.kernel.const.shape
        group = m.conv.attrs["group"]
        require(per_group == 1, f"its {group} groups have {per_group} channels each")
        return {
            "filters": filters,
            **geometry(m),
            "depthwise": filters == group,
            "groups": 1 if filters == group else group,
            "use_bias": m.bias is not None,
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, depthwise_kernel(m.kernel.const, m.conv.attrs["group"]))


class Conv2D(Pattern):
    """A convolution, in groups or not.

    ONNX Conv (operator versions 1, 11, 22), kernel (O, I/groups, k, k);
    Keras Conv2D, kernel (k, k, I/groups, O).
    """

    layer = "Conv2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("kernel", rank=4), optional("bias", rank=1), role="conv")

    def usual(self) -> dict[str, Any]:
        return USUAL

    def params(self, m: Match) -> dict[str, Any]:
        filters, per_group, _, _ = m.kernel.const.shape
        group = m.conv.attrs["group"]
        require(not per_group == 1 < group, "it is depthwise")
        return {
            "filters": filters,
            **geometry(m),
            "depthwise": False,
            "groups": group,
            "use_bias": m.bias is not None,
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, conv_kernel(m.kernel.const))


class UnevenDepthwiseConv2D(Pattern):
    """A depthwise convolution that halves the height or the width alone, as of lines of text.

    Keras Conv2D in as many groups as there are channels, kernel (k, k, 1, C).
    """

    layer = "Conv2D"
    before = ("Conv2D", "DepthwiseConv2D")

    def onnx(self, op: Ops, x: Var) -> Expr:
        kernel, bias = constant("kernel", rank=4), optional("bias", rank=1)
        return op.Conv(x, kernel, bias, role="conv", strides=UNEVEN.__contains__)

    def usual(self) -> dict[str, Any]:
        return USUAL

    def params(self, m: Match) -> dict[str, Any]:
        filters, per_group, size, _ = m.kernel.const.shape
        window = window_of(m.conv)
        require(per_group == 1 < filters == m.conv.attrs["group"], "it is not depthwise")
        padded = not window.pads_by_size and set(window.onnx_pads) == {size // 2}
        plain = set(window.size) == {size} and size % 2 and set(window.dilations) == {1}
        require(padded and plain, "it is not padded by half of its kernel on every side")
        return {
            **{"filters": filters, "kernel_size": size, "strides": window.strides, "dilation": 1},
            **{"padding": None, "depthwise": True, "groups": 1, "use_bias": m.bias is not None},
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, conv_kernel(m.kernel.const))


def with_bias(m: Match, kernel: Array) -> dict[str, Array]:
    """The kernel, and the bias if there is one."""
    return {"kernel": kernel} if m.bias is None else {"kernel": kernel, "bias": m.bias.const}


FULL = {"depthwise": False, "groups": 1}  # every channel sees every other
# What the convolutions of a block have in common, and so do mostly all of a network.
STYLE = p("padding", "batch_norm", "use_bias", "bn_epsilon", "bn_momentum")

# The convolutions that papers speak of, each with what may follow it.
Conv = kind_of("ConvBnAct", **FULL)
Conv1x1 = kind_of("ConvBnAct", kernel_size=1, **FULL)
PointwiseConv = kind_of("ConvBnAct", kernel_size=1, strides=1, **FULL)
DepthwiseConv = kind_of("ConvBnAct", depthwise=True)
GroupConv = kind_of("ConvBnAct", depthwise=False)
# A normalization that the exporter folded, though no convolution is before it.
FoldedNorm = kind_of("ConvBnAct", kernel_size=1, strides=1, depthwise=True, activation=None)


class ConvBnAct(Pattern):
    """A convolution with what usually follows it; normalization and activation may be missing.

    Where the exporter folded the normalization into the convolution, the convolution has a bias.
    """

    keras = "conv_bn_act"
    style = ("activation", *STYLE)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = any_of(
            op.Conv2D(x, role="conv"),
            op.DepthwiseConv2D(x, role="conv"),
            op.UnevenDepthwiseConv2D(x, role="conv"),
        )
        y = maybe(op.BatchNorm(y, role="bn"))
        return any_of(op.Activation(y, role="act"), op.ApproximateGelu(y, role="act"), y)

    def params(self, m: Match) -> dict[str, Any]:
        return {
            **m.conv.params,
            "activation": m.act.activation if m.act is not None else None,
            "batch_norm": m.bn is not None,
            **({f"bn_{key}": value for key, value in m.bn.params.items()} if m.bn else {}),
        }


def conv_bn_act(
    x: KerasTensor,
    filters: int,
    kernel_size: Any,
    strides: Any = 1,
    dilation: int = 1,
    depthwise: bool = False,
    groups: int = 1,
    padding: str | Pads | None = None,
    activation: str | None = "silu",
    batch_norm: bool = True,
    use_bias: bool = False,
    bn_epsilon: float = 1e-5,
    bn_momentum: float = 0.9,
    *,
    name: str,
) -> KerasTensor:
    """A convolution, batch normalization and an activation."""
    if strides in ((2, 1), (1, 2)):
        # TensorFlow has no depthwise convolution of unequal steps, but one of as many groups.
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        steps = {"strides": strides, "groups": filters}
        x = layers.Conv2D(filters, kernel_size, **steps, use_bias=use_bias, name=f"{name}_conv")(x)
    else:
        if padding is None and strides > 1 and kernel_size > 1:
            # PyTorch pads every side alike, "same" would not.
            x = layers.ZeroPadding2D(dilation * ((kernel_size - 1) // 2), name=f"{name}_pad")(x)
            padding = "valid"
        if padding not in (None, "same", "valid"):
            if kernel_size > 1:  # "same" would pad images of odd height or width otherwise
                x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
            padding = "valid"
        steps = {"strides": strides, "dilation_rate": dilation, "padding": padding or "same"}
        if depthwise:
            conv = layers.DepthwiseConv2D(
                kernel_size, **steps, use_bias=use_bias, name=f"{name}_conv"
            )
        elif groups > 1 and groups == x.shape[-1]:
            steps["depth_multiplier"] = filters // groups
            conv = layers.DepthwiseConv2D(
                kernel_size, **steps, use_bias=use_bias, name=f"{name}_conv"
            )
        else:
            conv = layers.Conv2D(
                filters, kernel_size, **steps, groups=groups, use_bias=use_bias, name=f"{name}_conv"
            )
        x = conv(x)
    if batch_norm:
        bn = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name=f"{name}_bn")
        x = bn(x)
    if activation in ("gelu_tanh", "gelu_sigmoid"):
        return approximate_gelu(x, activation)
    if activation:
        x = layers.Activation(activation, name=f"{name}_act")(x)
    return x
