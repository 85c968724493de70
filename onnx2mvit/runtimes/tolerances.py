"""How far runtimes may be from each other: the largest error as a share of the largest value.

A float32 keeps 24 bits, 6e-8 of a value. Every runtime adds up in an order of its own, and what
that loses grows with the layers.
"""

FLOAT32 = 1e-5
"""Keras, and deployed files in float32, against onnxruntime. The right networks that were measured
stay below 4e-6 at the border of any block."""

FLOAT16 = 1e-2
"""Weights in float16 have 11 bits, so each layer is off by up to 5e-4 of its value."""

BFLOAT16 = 8e-2
"""The same with 8 bits."""

OF_PRECISION = {"bfloat16": BFLOAT16, "float16": FLOAT16, "float32": FLOAT32, "float64": FLOAT32}
"""Keras in float32 against a file that computes in another precision."""

FLOAT64 = 1e-6
"""Keras against the file, both in float64: constants of the file are written as decimals of a
float32 (up to 6e-8), and TensorFlow resizes in float32."""

BY_CHANCE = 4
"""So many times as far as other runtimes may one be from the float64 answer, all in float32: two
right ones seldom differ by more than two. What is wrong by 1e-4 is farther off unless these are
off by 2.5e-5 themselves."""

INT8_SQNR = 20.0
"""Signal to quantization noise in dB: int8 has errors in proportion to the answer, and 20 dB is a
tenth of it."""

EXPORT = 1e-4
"""An exported file against torch, end to end: no block corrects what those before it lost."""

SPEED = 1e-3
"""A runtime that is timed: what is farther off than rounding is not the same network."""
