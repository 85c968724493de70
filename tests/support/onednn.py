"""What TensorFlow's oneDNN does wrong on some processors, which is no fault of a model."""

import subprocess
import sys
from functools import cache

import pytest

# The gradient of a 1×1 convolution of stride 2 on an image of 3 channels (TensorFlow 2.21, AVX-512)
# writes beside its memory, and the process ends some steps later, wherever it is then.
PROGRAM = """
import numpy as np, tensorflow as tf
for _ in range(500):  # arrays of its own each time, so that the fault is met
    tf.raw_ops.Conv2DBackpropFilter(
        input=np.random.rand(2, 64, 64, 3).astype("f4"), filter_sizes=[1, 1, 3, 8],
        out_backprop=np.random.rand(2, 32, 32, 8).astype("f4"), strides=[1, 2, 2, 1],
        padding="VALID")
"""


@cache
def _corrupts_memory() -> bool:
    """Of ten runs on such a processor one ends well all the same."""
    command = [sys.executable, "-c", PROGRAM]
    return any(
        subprocess.run(command, capture_output=True, check=False).returncode for _ in range(3)
    )


def skip_where_memory_is_corrupted() -> None:
    """Skips a test that trains such a stem, where that would end all others with it."""
    if _corrupts_memory():
        pytest.skip("oneDNN writes beside the gradient of a strided 1×1 convolution here")
