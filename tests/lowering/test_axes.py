"""What the axes of inputs and outputs are, and in which order the model has them."""

from pathlib import Path
from typing import Any

import pytest

from onnx2mvit import inspect
from tests.support.graphs import model, save

CONV = "Conv<pads=[1,1,1,1]>"
WEIGHTS: dict[str, Any] = {"w": (5, 3, 3, 3), "b": (5,)}
TO_NCHW, TO_NHWC = "Transpose<perm=[0,3,1,2]>", "Transpose<perm=[0,2,3,1]>"
IMAGE = ["batch", "height", "width", "channels"]


def axes(folder: Path, inputs: str, nodes: str, **weights: Any) -> list[list[Any]]:
    """Of each input and output: what the axes of the Keras tensor are, and which the file's are."""
    made = model(f"g ({inputs}) => (float y) {{ {nodes} }}", opset=17, **WEIGHTS, **weights)
    network = inspect(save(made, folder))
    assert not network.refused
    found: list[list[Any]] = []
    for value in (*network.graph.inputs, *network.graph.outputs):
        named, order = network.axes_of(value), network.order(value)
        found += [[named[axis] for axis in order], list(order)]
    return found


FOUND = {
    "NCHW": ("float[N,3,9,7] x", f"y = {CONV}(x, w)", [0, 2, 3, 1], [0, 2, 3, 1]),
    "a Transpose at both ends": (
        "float[N,9,7,3] x",
        f"t = {TO_NCHW}(x)  c = {CONV}(t, w)  y = {TO_NHWC}(c)",
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    ),
    "NHWC, three by three pixels": (
        "float[N,3,3,3] x",
        f"t = {TO_NCHW}(x)  y = {CONV}(t, w)",
        [0, 1, 2, 3],
        [0, 2, 3, 1],
    ),
    "bytes, a mean taken off before the Transpose": (
        "uint8[N,9,7,3] x",
        f"f = Cast<to=1>(x)  s = Mul(f, by)  m = Sub(s, mean)  t = {TO_NCHW}(m)  y = {CONV}(t, w)",
        [0, 1, 2, 3],
        [0, 2, 3, 1],
    ),
    "one channel, NHWC by a Reshape": (
        "float[N,9,7,1] x",
        f"r = Reshape(x, grey)  c = {CONV}(r, v)  t = {TO_NHWC}(c)  a = Add(t, b)  y = Relu(a)",
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    ),
    "Einsum over channels": (
        "float[N,3,9,7] x",
        f"c = {CONV}(x, w)  s = Einsum<equation=\"bchw,bdhw->bcd\">(c, c)"
        '  y = Einsum<equation="bcd,bdhw->bchw">(s, c)',
        [0, 2, 3, 1],
        [0, 2, 3, 1],
    ),
    "pixel shuffle by moving axes": (
        "float[N,3,8,6] x",
        f"c = {CONV}(x, w4)  r = Reshape(c, six)  t = Transpose<perm=[0,1,4,2,5,3]>(r)"
        "  y = Reshape(t, four)",
        [0, 2, 3, 1],
        [0, 2, 3, 1],
    ),
    "an image that is but resized": (
        "float[N,8,6,3] x",
        'y = Resize<mode="nearest">(x, , scales)',
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    ),
    "a mean over the image alone": (
        "float[N,3,8,6] x",
        "m = ReduceMean<axes=[2,3]>(x)  y = Sub(x, m)",
        [0, 2, 3, 1],
        [0, 2, 3, 1],
    ),
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "by": [0.5],
    "mean": [0.1, 0.2, 0.3],
    "grey": [-1, 1, 9, 7],
    "v": (5, 1, 3, 3),
    "w4": (4, 3, 3, 3),
    "six": [-1, 1, 2, 2, 8, 6],
    "four": [-1, 1, 16, 12],
    "scales": [1.0, 2.0, 2.0, 1.0],
}


@pytest.mark.parametrize("name", FOUND)
def test_an_image_is_height_width_channels_whatever_the_file_has(tmp_path: Path, name: str) -> None:
    inputs, nodes, taken, given = FOUND[name]
    used = {key: OTHERS[key] for key in OTHERS if f"{key})" in nodes}
    assert axes(tmp_path, inputs, nodes, **used) == [IMAGE, taken, IMAGE, given]


def test_where_nothing_says_what_the_axes_are_they_stay_as_in_the_file(tmp_path: Path) -> None:
    given, order, *_ = axes(
        tmp_path, "float[N,3,8,6] x", "f = Flatten(x)  y = MatMul(f, k)", k=(144, 2)
    )
    assert given == ["batch", None, None, None] and order == [0, 1, 2, 3]


def test_the_file_may_say_itself_what_an_axis_is(tmp_path: Path) -> None:
    made = model("g (float[N,3,8,6] x) => (float[N,3,8,6] y) { y = Tanh(x) }", opset=17)
    made.graph.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    network = inspect(save(made, tmp_path))
    assert network.image_shape == (8, 6, 3)
    assert network.order(network.graph.outputs[0]) == (0, 2, 3, 1)


def test_signals_volumes_masks_and_tokens(tmp_path: Path) -> None:
    signal = axes(tmp_path, "float[N,3,9] x", "y = Conv<pads=[1,1]>(x, s)", s=(5, 3, 3))
    assert signal == [["batch", "length", "channels"], [0, 2, 1]] * 2
    nodes = "t = Transpose<perm=[0,2,1]>(x)  y = Conv<pads=[1,1]>(t, s)"
    assert axes(tmp_path, "float[N,9,3] x", nodes, s=(5, 3, 3))[:2] == [signal[0], [0, 1, 2]]
    volume = axes(
        tmp_path, "float[N,3,9,8,7] x", "y = Conv<pads=[1,1,1,1,1,1]>(x, s)", s=(5, 3, 3, 3, 3)
    )
    assert volume == [["batch", "depth", *IMAGE[1:]], [0, 2, 3, 4, 1]] * 2
    mask = axes(
        tmp_path,
        "float[N,3,9,7] x",
        f"c = {CONV}(x, w)  a = ArgMax<axis=1,keepdims=0>(c)  y = Cast<to=1>(a)",
    )
    assert mask[2:] == [IMAGE[:3], [0, 1, 2]]
    nodes = "e = Gather(table, x)  y = Tanh(e)"
    tokens = axes(tmp_path, "int64[N,9] x", nodes, table=(20, 4))
    assert tokens == [["batch", None], [0, 1], ["batch", None, None], [0, 1, 2]]


def test_the_batch_comes_first_wherever_the_file_has_it(tmp_path: Path) -> None:
    nodes = (
        f"c = {CONV}(x, w)  m = ReduceMean<axes=[2,3],keepdims=0>(c)  y = Transpose<perm=[1,0]>(m)"
    )
    assert axes(tmp_path, "float[N,3,9,7] x", nodes)[2:] == [["batch", None], [1, 0]]
    taken, order, *_ = axes(tmp_path, "float[time,batch,6] x", "y = Tanh(x)")
    assert taken == ["batch", None, None] and order == [1, 0, 2]
