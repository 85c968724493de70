"""The corpus of bad inputs: what each is, how `onnx2mvit convert` ends, and what it says.

`python -m tests.support.bad_inputs_table` writes docs/bad_input.md from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support import bad_files as files
from tests.support import bad_graphs as graphs
from tests.support.bad_files import CONV, GOOD, Make, cut_off, external, holding, with_weight
from tests.support.bad_graphs import changed, graph

USAGE, INVALID, UNSUPPORTED = 2, 3, 4
HUGE = 1 << 31
RELU = f"{GOOD} {{ y = Relu(x) }}"


@dataclass(frozen=True)
class Bad:
    """An input, the exit code of `convert`, and a part of the one line that it says."""

    what: str
    code: int
    says: str
    make: Make


def corpus() -> Iterator[Bad]:
    """All of them."""
    yield from _files()
    yield from _weights()
    yield from _graphs()
    yield from _inputs()
    yield from _not_converted()
    yield from _growing()


def _files() -> Iterator[Bad]:
    yield Bad("a file that is not there", INVALID, "does not exist", files.nowhere)
    yield Bad("a folder without a file", USAGE, "there is no .onnx file in", files.directory)
    yield Bad("a device", INVALID, "is not a file", files.device)
    yield Bad("a link to itself", INVALID, "does not exist", files.loop_of_links)
    yield Bad("an empty file", INVALID, "is empty", holding(b""))
    for keep in (1, 2, 3, 10, 50, 0.25, 0.5, 0.75, 0.9, -1):
        part = f"{keep:.0%}" if 0 < keep < 1 else f"{keep} bytes" if keep > 0 else "all but a byte"
        yield Bad(f"a file cut off after {part}", INVALID, "not a", cut_off(keep))
    for what, content in {
        "a text": b"This is not a model.\n" * 50,
        "1,000 random bytes": files.noise(1000),
        "100,000 random bytes": files.noise(100_000),
        "another protobuf: a tensor": files.TENSOR,
        "another protobuf: a bare graph": files.BARE_GRAPH,
        "another protobuf: an opset": files.OPSET,
        "a model without a graph": files.NO_GRAPH,
    }.items():
        yield Bad(what, INVALID, "not a", holding(content))
    yield Bad("a zip archive", INVALID, "zip file", holding(b"PK\x03\x04" + bytes(100)))
    yield Bad("an HDF5 file", INVALID, "Keras's", holding(b"\x89HDF\r\n\x1a\n" + bytes(100)))


def _weights() -> Iterator[Bad]:
    for what, how in {
        "in a file that is missing": external(location="missing.bin"),
        "outside of the folder": external(location="../secret.bin"),
        "at an absolute path": external(location="/etc/passwd"),
        "behind a link that leads out": external(location="link.bin"),
        "in a directory": external(location="folder"),
        "nowhere": external(),
        "beyond the end of their file": external(location="weights.bin", offset=40),
        "before the beginning of their file": external(location="weights.bin", offset=-4),
        "at an offset that is no number": external(location="weights.bin", offset="many"),
        "with a length that is too short": external(location="weights.bin", length=10),
        "of 4 TB in a file of 48 bytes": external((1 << 20, 1 << 20), location="weights.bin"),
    }.items():
        yield Bad(f"external weights {what}", INVALID, "", how)
    for what, how, says in (
        ("less data than its shape", with_weight(raw_data=bytes(20)), "too small"),
        ("more data than its shape", with_weight(raw_data=bytes(56)), "is 56 bytes, but its shape"),
        ("fewer numbers than its shape", with_weight(float_data=[1.0] * 5), "too small"),
        ("no data", with_weight(), "value field"),
        ("a negative length", with_weight(dims=[4, -3, 1, 1], raw_data=bytes(48)), "Negative"),
        ("2³¹ elements in 20 bytes", with_weight(dims=[HUGE], raw_data=bytes(20)), "too small"),
        ("a size that overflows", with_weight(dims=[1 << 62, 4], raw_data=b""), ""),
        ("an unknown type", with_weight(data_type=99, raw_data=bytes(48)), "99"),
    ):
        yield Bad(f"a weight with {what}", INVALID, says, how)
    for what, array in (("NaN", graphs.NOT_A_NUMBER), ("infinite", graphs.INFINITE)):
        says = f"of whose 12 numbers 6 are {what}"
        yield Bad(f"weights that are {what}", UNSUPPORTED, says, graph(CONV, w=array))


def _graphs() -> Iterator[Bad]:
    for what, body, says in (
        ("a cycle", f"{GOOD} {{ a = Add(x, b)  b = Neg(a)  y = Neg(b) }}", "topologically sorted"),
        ("an input that nothing computes", f"{GOOD} {{ y = Add(x, nowhere) }}", "nowhere"),
        ("two values of one name", f"{GOOD} {{ y = Relu(x)  y = Neg(x) }}", "'y'"),
        ("an unknown operator", f"{GOOD} {{ y = Frobnicate(x) }}", "Frobnicate"),
        ("an operator with too few inputs", f"{GOOD} {{ y = Add(x) }}", "input size 1"),
        ("an operator without its attribute", f"{GOOD} {{ y = Cast(x) }}", "'to' is missing"),
        ("an output that nothing computes", f"{GOOD} {{ z = Relu(x) }}", "'y'"),
        ("no outputs", "g (float[1,3,8,8] x) => () { y = Relu(x) }", "has no outputs"),
    ):
        yield Bad(f"a graph with {what}", INVALID, says, graph(body))
    yield Bad(
        "two weights of one name",
        INVALID,
        "not unique",
        changed(CONV, graphs.same_weight_twice, w=(4, 3, 1, 1)),
    )
    yield Bad("a sparse weight", INVALID, "'w'", changed(CONV, graphs.sparse_weight))
    yield Bad("a name that is not UTF-8", INVALID, "not UTF-8", graphs.not_utf8)
    no_opset = changed(RELU, lambda made: made.ClearField("opset_import"))
    yield Bad("a file without an opset", INVALID, "opset", no_opset)
    for opset in (26, 99):
        says = f"opset {opset}; supported are 11 to 25"
        yield Bad(f"opset {opset}", UNSUPPORTED, says, graph(RELU, opset=opset))
    yield Bad(
        "a graph without nodes",
        UNSUPPORTED,
        "",
        graph("g (float[1,3,8,8] x) => (float[1,3,8,8] x) {}"),
    )
    body = "g (float[1,3,8,8] x) => (float[8] w) {}"
    yield Bad(
        "a graph whose output is a weight", UNSUPPORTED, "computes nothing", graph(body, w=(8,))
    )
    wrong = graph(CONV, w=(4, 4, 1, 1))
    yield Bad("a convolution of 4 channels on an image of 3", INVALID, "", wrong)
    biased = graph(f"{GOOD} {{ y = Conv(x, w, b) }}", w=(4, 3, 1, 1), b=(5,))
    says = "has a bias [5] for 4 filters"
    yield Bad("a convolution of 4 filters with 5 biases", INVALID, says, biased)
    body = "g (float[1,3,8,8] x) => (float[1,3,5] y) { y = Reshape(x, shape) }"
    says = "makes 15 numbers of 192"
    yield Bad("a shape of fewer numbers", INVALID, says, graph(body, shape=[1, 3, 5]))


def _inputs() -> Iterator[Bad]:
    for what, inputs, code, says in (
        ("no inputs", "", UNSUPPORTED, "has no inputs"),
        ("an input of length 0", "float[1,3,0,8] x", INVALID, "below one"),
        ("an unknown number of channels", "float[1,C,8,8] x", UNSUPPORTED, "number of channels"),
        ("a batch of 2⁴⁰ images", f"float[{1 << 40},3,8,8] x", UNSUPPORTED, "too large"),
        ("an image of 2³¹×2³¹", f"float[1,3,{HUGE},{HUGE}] x", UNSUPPORTED, "too large"),
    ):
        source = "x" if inputs else "w"
        body = f"g ({inputs}) => (float[a,b,c,d] y) {{ y = Relu({source}) }}"
        yield Bad(what, code, says, graph(body, w=(1, 3)))
    yield Bad("an input without a shape", INVALID, "shape", changed(RELU, graphs.no_shape))
    yield Bad("an input without a type", INVALID, "type", changed(RELU, graphs.no_type))
    yield Bad("a sequence as input", UNSUPPORTED, "", changed(RELU, graphs.sequence_input))
    body = "g (string[1,3,8,8] x) => (float[1,3,8,8] y) { y = Cast<to=1>(x) }"
    yield Bad("images of string", UNSUPPORTED, "not of numbers", graph(body))


def _not_converted() -> Iterator[Bad]:
    yield Bad("a quantized (QDQ) model", UNSUPPORTED, "", graphs.quantized(graphs.QDQ))
    yield Bad("a quantized (QLinear) model", UNSUPPORTED, "", graphs.quantized(graphs.QLINEAR))
    yield Bad("If", UNSUPPORTED, "holds a subgraph", graph(graphs.IF, opset=17))
    yield Bad("Loop", UNSUPPORTED, "holds a subgraph", graph(graphs.LOOP, go=np.array(True)))
    yield Bad("Scan", UNSUPPORTED, "holds a subgraph", graph(graphs.SCAN))
    sequence = f"{GOOD} {{ s = SequenceConstruct(x, x)  y = SequenceAt(s, one) }}"
    yield Bad("a sequence", UNSUPPORTED, "computes nothing", graph(sequence, one=np.int64(1)))
    foreign = changed(RELU, graphs.foreign_operator)
    yield Bad("an operator of a custom domain", UNSUPPORTED, "com.example::Relu", foreign)
    body = f"{GOOD} {{ y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s) }}"
    yield Bad("batch normalization in training mode", UNSUPPORTED, "training", graph(body, s=(3,)))
    body = f"{GOOD} {{ y = Dropout(x, ratio, training) }}"
    ratio: dict[str, Any] = {"ratio": np.float32(0.5), "training": np.array(True)}
    yield Bad("Dropout in training mode", UNSUPPORTED, "training", graph(body, **ratio))
    yield Bad("random numbers", UNSUPPORTED, "Bernoulli", graph(f"{GOOD} {{ y = Bernoulli(x) }}"))


def _growing() -> Iterator[Bad]:
    calls = graphs.functions(10, 10)
    itself = graphs.recursion(1, 8)
    yield Bad("a local function that calls itself", INVALID, "own::f0 -> own::f0", itself)
    ring = graphs.recursion(3, 7)
    yield Bad("local functions in a ring", INVALID, "own::f0, own::f1, own::f2", ring)
    yield Bad("10 levels of functions of 10 calls", UNSUPPORTED, "100,000 nodes", calls)
    big: dict[str, Any] = {"big": [1 << 40], "one": np.ones(1, np.float32)}
    for what, node in {
        "ConstantOfShape": "ConstantOfShape(big)",
        "Expand": "Expand(one, big)",
        "Tile": "Tile(one, big)",
    }.items():
        body = f"{GOOD} {{ c = {node}  y = Add(x, c) }}"
        yield Bad(f"2⁴⁰ elements by {what}", UNSUPPORTED, "too large", graph(body, **big))
    many: dict[str, Any] = {"one": np.ones((), np.float32), "axes": list(range(20_000))}
    body = f"{GOOD} {{ u = Unsqueeze(one, axes)  c = ReduceSum<keepdims=0>(u)  y = Add(x, c) }}"
    yield Bad("a constant of 20,000 axes", UNSUPPORTED, "than 64 axes", graph(body, **many))
    body = f"{GOOD} {{ y = Resize(x, , scales) }}"
    scales: dict[str, Any] = {"scales": np.array([1.0, 1.0, 1e5, 1e5], np.float32)}
    yield Bad("an image enlarged to 2³⁹ pixels", UNSUPPORTED, "too large", graph(body, **scales))
    body = f"{GOOD} {{ y = Pad(x, pads) }}"
    pads: dict[str, Any] = {"pads": [0, 0, HUGE, HUGE, 0, 0, 0, 0]}
    yield Bad("an image padded to 2⁶² pixels", UNSUPPORTED, "too large", graph(body, **pads))
