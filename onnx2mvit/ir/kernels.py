"""The kernels of convolutions, from ONNX's order of axes to that of Keras's layers."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def conv_kernel(kernel: Array) -> Array:
    """That of `Conv1D` to `Conv3D`, and of their transposed layers.

    Args:
        kernel: (filters, channels / groups, …), as of ONNX Conv (operator versions 1 to 22).

    Returns:
        (…, channels / groups, filters).
    """
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)


def depthwise_kernel(kernel: Array, channels: int) -> Array:
    """That of `DepthwiseConv1D` and `DepthwiseConv2D`.

    Args:
        kernel: (channels · multiplier, 1, …), where the filters of a channel follow each other.
        channels: of the image.

    Returns:
        (…, channels, multiplier).
    """
    of_each = kernel.reshape(channels, -1, *kernel.shape[2:])
    return of_each.transpose(*range(2, kernel.ndim), 0, 1)
