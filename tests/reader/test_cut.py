"""Cutting a file at tensors in it, before operators that Keras does not have."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx2mvit import inspect
from onnx2mvit.emitter.emit import emit
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.reader import read
from onnx2mvit.reader.cut import cut
from tests.support.graphs import model, save

DETECTOR = """g (float[N,3,8,8] x) => (float[N,64,4] boxes, int64[k,3] selected) {
    f = Conv<kernel_shape=[1,1]>(x, w)
    shape = Constant<value=int64[3] {0, 4, 64}>()  r = Reshape(f, shape)
    b = Transpose<perm=[0,2,1]>(r)  boxes = Relu(b)
    s = ReduceMax<axes=[2], keepdims=1>(b)  scores = Sigmoid(s)
    t = Transpose<perm=[0,2,1]>(scores)  selected = NonMaxSuppression(boxes, t, most)
}"""


def detector(folder: Path, external: bool = False) -> Path:
    made = model(DETECTOR, opset=17, w=(4, 3, 1, 1), most=[10])
    path = save(made, folder, "detector.onnx")
    onnx.save(made, path, save_as_external_data=external, size_threshold=0)
    return path


@pytest.mark.parametrize("external", [False, True])
def test_tensors_become_the_outputs_in_their_order(tmp_path: Path, external: bool) -> None:
    path = detector(tmp_path, external)
    graph = read(path, outputs=["scores", "boxes"])
    assert graph.output_names == ["scores", "boxes"]
    assert [value.shape for value in graph.outputs] == [(3, 64, 1), (3, 64, 4)]
    assert not graph.of(["NonMaxSuppression"])
    assert graph.source.outputs == ("scores", "boxes")
    (conv,) = graph.of(["Conv"])
    weights = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    assert conv.inputs[1] is not None and conv.inputs[1].const is not None
    assert np.array_equal(conv.inputs[1].const, weights)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (["score"], "no node of the file computes a tensor 'score': did you mean 'scores'?"),
        (["x"], "no node of the file computes a tensor 'x'"),
        (["boxes", "boxes"], "an output is named twice"),
    ],
)
def test_what_is_no_tensor_is_said(outputs: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read(detector(tmp_path), outputs=outputs)
    assert str(error.value) == expected


def test_what_a_graph_in_a_node_reads_stays_and_unused_inputs_go() -> None:
    made = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, float[2] unused, bool c) => (float[2] z) {
            a = Neg(x)  d = Neg(unused)
            y = If(c) <then_branch = t () => (float[2] p) { p = Relu(a) },
                       else_branch = e () => (float[2] q) { q = Abs(a) }>
            z = Add(y, d)
        }""")
    cut(made, ["y"])
    assert [node.op_type for node in made.graph.node] == ["Neg", "If"]
    assert [value.name for value in made.graph.input] == ["x", "c"]
    assert [value.name for value in made.graph.output] == ["y"]


def test_the_message_of_an_operator_without_a_keras_form_names_the_tensors(tmp_path: Path) -> None:
    network = inspect(detector(tmp_path))
    assert network.cut_points == ("boxes", "t")
    with pytest.raises(UnsupportedError, match=r"`--outputs` cuts .* at 'boxes', 't'\."):
        emit(network, "detector", "test")
    assert inspect(detector(tmp_path), outputs=network.cut_points).cut_points == ()


def test_so_does_that_of_a_loop(tmp_path: Path) -> None:
    made = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x, bool c) => (float[1,2,2,2] z) {
            a = Neg(x)  l = Sign(a)  m = ReduceMax<keepdims=0>(l)  b = Cast<to=9>(m)
            z = If(b) <then_branch = t () => (float[1,2,2,2] p) { p = Relu(a) },
                       else_branch = e () => (float[1,2,2,2] q) { q = Abs(a) }>
        }""")
    del made.graph.input[1]
    with pytest.raises(UnsupportedError, match=r"holds a subgraph: .* at 'b'\."):
        read(save(made, tmp_path))


def test_a_detector_is_cut_where_it_has_boxes_and_scores_of_all_places(tmp_path: Path) -> None:
    body = """g (float[1,6,4] x) => (float[n,4] y) {
        boxes = Exp(x)  flat = ReduceMean<keepdims=0>(x, last)  scores = Softmax<axis=-1>(flat)
        b = Gather(boxes, zero)  s = Gather(scores, zero)  above = Greater(s, bound)
        where = NonZero(above)  t = Transpose<perm=[1,0]>(where)  left = GatherND(b, t)
        size = Size(left)  none = Equal(size, zero)
        y = If(none) <then_branch = p () => (float[n,4] u) { u = Identity(left) },
                      else_branch = q () => (float[n,4] v) { v = Neg(left) }>
    }"""
    made = model(body, opset=18, last=[2], zero=np.int64(0), bound=np.float32(0.1))
    save(made, tmp_path)
    with pytest.raises(UnsupportedError, match=r"instance at 'boxes', 'scores'\."):
        read(tmp_path / "model.onnx")
