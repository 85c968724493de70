"""Convolution over images, plain, grouped or depthwise: the leaves that own a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx2mvit.ir.padding import is_same, like_tensorflow
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, constant, optional, require


def geometry(m: Match) -> dict[str, Any]:
    """Square kernel, equal strides and dilations, and how the image is padded."""
    attrs = m.conv.attrs
    (size, *other_sizes) = attrs["kernel_shape"]
    (stride, *other_strides) = attrs["strides"]
    (dilation, *other_dilations) = attrs["dilations"]
    require(set(other_sizes) == {size}, f"the kernel is {attrs['kernel_shape']}, not square")
    require(set(other_strides) == {stride}, f"the strides {attrs['strides']} differ")
    require(set(other_dilations) == {dilation}, f"the dilations {attrs['dilations']} differ")
    require(min(stride, dilation) == 1, f"it has strides {stride} and dilations {dilation}")
    geometry = {"kernel_size": size, "strides": stride, "dilation": dilation}
    # A single pixel at a time needs no padding by any rule.
    return geometry | ({} if size == 1 and not any(attrs["pads"]) else {"padding": padding(m)})


def padding(m: Match) -> str | None:
    """Keras's "same" or "valid", or None for dilation · ⌊(kernel - 1) / 2⌋ all around (PyTorch)."""
    attrs = m.conv.attrs
    size, dilation, pads = attrs["kernel_shape"][0], attrs["dilations"][0], attrs["pads"]
    around = dilation * ((size - 1) // 2)
    # Without a stride even kernels would make the image smaller.
    usual = any(pads) and set(pads) == {around} and (size % 2 == 1 or attrs["strides"][0] > 1)
    none = not any(pads)
    same = is_same(m.conv)
    require(
        usual or none or same,
        f"the padding is {pads}: neither {around} on every side, nor none, nor TensorFlow's",
    )
    if same and (like_tensorflow(m.graph) or not (usual or none)):
        return "same"
    return None if usual else "valid"


def several_groups(group: int) -> bool:
    """The condition on `group` for a convolution that does not see all channels."""
    return group > 1


class DepthwiseConv2D(Pattern):
    """A convolution of every channel by itself (MobileNets, arXiv:1704.04861, section 3.1).

    ONNX Conv (operator versions 1, 11, 22) with group = channels, kernel (C·m, 1, k, k);
    Keras DepthwiseConv2D, kernel (k, k, C, m).
    """

    layer = "DepthwiseConv2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        kernel, bias = constant("kernel", rank=4), optional("bias", rank=1)
        return op.Conv(x, kernel, bias, role="conv", group=several_groups)

    def params(self, m: Match) -> dict[str, Any]:
        filters, per_group, _, _ = m.kernel.const.shape
        group = m.conv.attrs["group"]
        require(per_group == 1, f"its {group} groups have {per_group} channels each")
        require(filters == group, f"it makes {filters} channels of {group}")
        return {
            "filters": filters,
            **geometry(m),
            "depthwise": True,
            "groups": 1,
            "use_bias": m.bias is not None,
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, np.transpose(m.kernel.const, (2, 3, 0, 1)))


class Conv2D(Pattern):
    """A convolution, in groups or not.

    ONNX Conv (operator versions 1, 11, 22), kernel (O, I/groups, k, k);
    Keras Conv2D, kernel (k, k, I/groups, O).
    """

    layer = "Conv2D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Conv(x, constant("kernel", rank=4), optional("bias", rank=1), role="conv")

    def params(self, m: Match) -> dict[str, Any]:
        filters, per_group, _, _ = m.kernel.const.shape
        group = m.conv.attrs["group"]
        require(not per_group == 1 < filters == group, "it is depthwise")
        return {
            "filters": filters,
            **geometry(m),
            "depthwise": False,
            "groups": group,
            "use_bias": m.bias is not None,
        }

    def weights(self, m: Match) -> dict[str, Array]:
        return with_bias(m, np.transpose(m.kernel.const, (2, 3, 1, 0)))


def with_bias(m: Match, kernel: Array) -> dict[str, Array]:
    """The kernel, and the bias if there is one."""
    return {"kernel": kernel} if m.bias is None else {"kernel": kernel, "bias": m.bias.const}
