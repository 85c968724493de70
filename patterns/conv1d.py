"""Convolutions along tokens."""

from __future__ import annotations

from typing import Any

from onnx2mvit.ir.kernels import conv_kernel
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Array, Expr, Match, Ops, Pattern, Var, constant, optional, require


class Conv1D(Pattern):
    """A convolution along tokens (B, N, C), without padding.

    ONNX Conv (operator versions 1, 11, 22) of (B, C, N), kernel (O, C, k); Keras Conv1D, kernel
    (k, C, O).
    """

    layer = "Conv1D"

    def onnx(self, op: Ops, x: Var) -> Expr:
        channels_first = op.Transpose(x, perm=(0, 2, 1))
        kernel, bias = constant("kernel", rank=3), optional("bias", rank=1)
        y = op.Conv(channels_first, kernel, bias, role="conv", group=1)
        return op.Transpose(y, perm=(0, 2, 1))

    def usual(self) -> dict[str, Any]:
        return {"strides": 1, "use_bias": True}

    def params(self, m: Match) -> dict[str, Any]:
        window = window_of(m.conv)
        require(not window.padded and not window.pads_by_size, "it pads the tokens")
        require(window.dilations == (1,), "it is dilated")
        return {
            "filters": m.kernel.const.shape[0],
            "kernel_size": window.size[0],
            "strides": window.strides[0],
            "use_bias": m.bias is not None,
        }

    def weights(self, m: Match) -> dict[str, Array]:
        kernel = {"kernel": conv_kernel(m.kernel.const)}
        return kernel if m.bias is None else {**kernel, "bias": m.bias.const}
