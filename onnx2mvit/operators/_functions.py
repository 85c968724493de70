"""Functions that emitted modules get where a single operator takes more than one call of Keras.

This file is never imported: what it defines is copied into emitted modules, as it stands here.
"""

from keras import layers, ops


def parameter(x, shape, trainable=True, *, name):
    """A tensor that does not depend on the input `x`: the only row of an embedding."""
    row = ops.zeros_like(ops.reshape(x, (-1,))[0], dtype="int32")
    size = 1
    for length in shape:
        size *= length
    return ops.reshape(layers.Embedding(1, size, trainable=trainable, name=name)(row), shape)
