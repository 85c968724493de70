"""Other sizes than the traced one: every operator with an axis of space is right, or refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx2mvit
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.lowering.operators import REGISTRY
from onnx2mvit.runtimes import OnnxRuntimeRunner, as_the_file
from tests.support.graphs import model, save
from tests.support.sizes_table import ANY, CONSTANTS, EVEN, ONE, SIZE

# Of every element by itself, or along other axes than those of space.
WITHOUT_SPACE = {
    *("Abs", "Acos", "Acosh", "And", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization"),
    *("Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu", "Equal"),
    *("Erf", "Floor", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish"),
    *("Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean"),
    *("Min", "Mish", "Mod", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Selu"),
    *("Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum"),
    *("Swish", "Tan", "ThresholdedRelu", "Where", "Xor"),
}
# Of sequences, of places that are computed, or what only rules write.
ELSEWHERE = {
    *("AffineGrid", "Attention", "Col2Im", "GRU", "GatherND", "LSTM", "RMSNormalization", "RNN"),
    *("Roll", "ScatterElements", "Select"),
}


def network(
    rows: tuple[str, ...], folder: Path, size: tuple[Any, Any], batch: int | str = "N"
) -> Path:
    """All of these from one image, each an output."""
    parts = [row.replace("{y}", f"y{number}") for number, row in enumerate(rows)]
    names = ", ".join(f"float y{number}" for number in range(len(rows)))
    nodes = " ".join(parts)
    used = {name: value for name, value in CONSTANTS.items() if re.search(rf"\b{name}\b", nodes)}
    image = f"float[{batch},8,{size[0]},{size[1]}] i"
    text = f"g ({image}) => ({names}) {{ x = Conv(i, one) {nodes} }}"
    made = model(text, opset=21, one=(8, 8, 1, 1), **used)
    for output in made.graph.output:
        output.type.tensor_type.ClearField("shape")
    made = onnx.shape_inference.infer_shapes(made, data_prop=True)
    for output in made.graph.output:
        if not output.type.tensor_type.HasField("shape"):  # ONNX infers none for some operators
            output.type.tensor_type.shape.CopyFrom(made.graph.input[0].type.tensor_type.shape)
    return save(made, folder)


def differing(result: onnx2mvit.Conversion, twin: Path, size: tuple[int, int]) -> dict[str, float]:
    """The outputs that are otherwise than those of the file of open size, at this one."""
    images = np.random.default_rng(0).normal(size=(2, 8, *size)).astype("float32")
    ours = as_the_file(result.model, onnx2mvit.inspect(twin))(images)
    found = {}
    for name, theirs in OnnxRuntimeRunner(twin)(images).items():
        same = ours[name].shape == theirs.shape
        far = np.abs(ours[name] - theirs).max() / np.abs(theirs).max() if same else np.inf
        if far > 1e-5:
            found[name] = float(far)
    return found


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(ANY, ((48, 36), (33, 45))), (EVEN, ((48, 36), (34, 46)))],
    ids=["any", "even"],
)
@pytest.mark.parametrize("declared", [SIZE, ("H", "W")], ids=["static", "dynamic"])
def test_what_holds_for_every_size(
    rows: tuple[str, ...], sizes: tuple[tuple[int, int], ...], declared: Any, tmp_path: Path
) -> None:
    file = network(rows, tmp_path, declared)
    result = onnx2mvit.convert(file, tmp_path / "out", verify=False, image_size="any")
    (tmp_path / "twin").mkdir()
    twin = network(rows, tmp_path / "twin", ("H", "W"))
    for size in sizes:
        assert differing(result, twin, size) == {}


@pytest.mark.parametrize("row", ONE)
def test_a_number_that_may_be_of_the_size_is_refused_at_others(row: str, tmp_path: Path) -> None:
    found = onnx2mvit.inspect(network((row,), tmp_path, SIZE, batch=1))
    assert not found.refused
    assert found.fixed_by is not None


def test_every_operator_with_an_axis_of_space_is_there() -> None:
    named = {op for row in (*ANY, *EVEN, *ONE) for op in re.findall(r"= (\w+)", row)}
    known = {name for name, _ in REGISTRY} | {"Split"}
    assert known - named - WITHOUT_SPACE == ELSEWHERE


COUNTED = 'auto_pad="SAME_LOWER", kernel_shape=[3,3], strides=[1,2], count_include_pad=1'
LAST_ROWS = f"a = Slice(x, m4, far, a2) {{y}} = AveragePool<{COUNTED}>(a)"


def test_a_file_of_open_size_is_read_and_proven_at_the_size_that_is_asked_for(
    tmp_path: Path,
) -> None:
    file = network((*ANY[:4], LAST_ROWS), tmp_path, ("H", "W"))
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=2, image_size=(34, 45))
    assert result.passed and not result.warnings
    assert result.model.input_shape == (None, 34, 45, 8)
    assert result.report["sizes"]["proven"] == [[34, 45]]
    assert onnx2mvit.verify(file, result.folder, inputs=1).passed
    with pytest.raises(UnsupportedError, match=r"images of 256×256: .*Ask for the size"):
        onnx2mvit.convert(file, tmp_path / "any", verify=False, image_size="any")


@pytest.mark.parametrize("declared", [SIZE, ("H", 40)], ids=["static", "width"])
def test_any_size_is_proven_at_three(declared: Any, tmp_path: Path) -> None:
    file = network(ANY[:9], tmp_path, declared)
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=1, image_size="any")
    open_width = declared == SIZE
    assert result.model.input_shape == (None, None, None if open_width else 40, 8)
    first, *others = result.report["sizes"]["proven"]
    assert len({height for height, _ in (first, *others)}) == 3
    assert len({width for _, width in (first, *others)}) == (3 if open_width else 1)


def test_padding_at_the_end_alone_is_that_at_every_size(tmp_path: Path) -> None:
    """As Hugging Face's MobileNetV2 is exported, whose blocks are lifted all the same."""
    text = """g (float[N,3,H,W] x) => (float[N,8] y) {
        a = Conv<strides=[2,2], pads=[0,0,1,1]>(x, stem, bias)  b = Clip(a, zero, six)
        c = Conv(b, wide, rest)  d = Clip(c, zero, six)
        e = Conv<strides=[2,2], pads=[0,0,1,1], group=16>(d, deep, rest)  f = Clip(e, zero, six)
        k = Conv(f, narrow, bias)  y = ReduceMean<axes=[2,3], keepdims=0>(k) }"""
    weights: dict[str, Any] = {
        **{"stem": (8, 3, 3, 3), "wide": (16, 8, 1, 1), "deep": (16, 1, 3, 3), "bias": (8,)},
        **{"narrow": (8, 16, 1, 1), "rest": (16,), "zero": np.float32(0), "six": np.float32(6)},
    }
    file = save(model(text, opset=17, **weights), tmp_path)
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=2, image_size="any")
    assert result.passed and len(result.report["sizes"]["proven"]) == 3
    assert [block.kind for block in result.blocks][:2] == ["ConvBnAct", "InvertedResidual"]
    odd = np.random.default_rng(0).normal(size=(2, 3, 43, 57)).astype("float32")
    ours = as_the_file(result.model, onnx2mvit.inspect(file))(odd)["y"]
    assert np.allclose(ours, OnnxRuntimeRunner(file)(odd)["y"], atol=1e-5)


TWO_BY_TWO = """x = Conv<strides=[2,2]>(i, one)
    a = Slice(x, rows0, far, a2, s2)  b = Slice(x, rows1, far, a2, s2)  m = Add(a, b)
    small = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(m)
    s = Shape(m)  l = Resize<mode="linear">(small, , , s)  y = Add(l, m)"""


def test_a_map_that_is_even_at_every_multiple_of_32_may_be_odd(tmp_path: Path) -> None:
    """What takes even images alone, and half of them rounds: the factor is not always 2."""
    numbers: dict[str, Any] = {"rows0": [0], "rows1": [1], "far": [2**31 - 1], "a2": [2], "s2": [2]}
    text = f"g (float[N,8,H,W] i) => (float[N,8,h,w] y) {{ {TWO_BY_TWO} }}"
    file = save(model(text, one=(8, 8, 1, 1), **numbers), tmp_path)
    with pytest.raises(UnsupportedError, match=r"can only be made for images of 256×256: .*Resize"):
        onnx2mvit.convert(file, tmp_path / "any", verify=False, image_size="any")


def test_where_the_file_says_otherwise_at_another_size_it_is_refused(tmp_path: Path) -> None:
    """A slice that takes all there is at the traced size goes by itself."""
    made = network(("a = Slice(x, n0, width, a3) {y} = Tanh(a)",), tmp_path, SIZE)
    with pytest.raises(UnsupportedError, match="at 48×60 onnxruntime differs"):
        onnx2mvit.convert(made, tmp_path / "out", inputs=1, image_size=(48, 60))


def test_a_place_that_may_be_a_share_of_the_image_is_told_at_another_size(tmp_path: Path) -> None:
    rows = ("a = Slice(x, n2, far, a2) {y} = Tanh(a)", "b = Slice(x, m4, far, a3) {y} = Tanh(b)")
    file = network(rows, tmp_path, SIZE)
    there = onnx2mvit.convert(file, tmp_path / "out", verify=False, image_size=(48, 60))
    places = there.report["sizes"]["counted"]
    assert sorted(places.values()) == [[-4], [2]]
    assert sorted(text.split(" from a border")[0] for text in there.warnings) == sorted(
        f"{name} counts {place}" for name, (place,) in places.items()
    )
    here = onnx2mvit.convert(file, tmp_path / "here", verify=False)
    assert not here.warnings
    is_open = network(rows, tmp_path, ("H", "W"))
    assert not onnx2mvit.inspect(is_open).counted


HALF = "p = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(x)"


@pytest.mark.parametrize(
    ("asked", "told"), [(None, False), ((48, 60), False), ((45, 60), True), ("any", True)]
)
def test_a_size_that_may_be_a_factor_is_told_where_they_differ(
    asked: Any, told: bool, tmp_path: Path
) -> None:
    text = f"""g (float[1,3,64,80] x) => (float[1,3,64,80] y) {{
        {HALF} q = Resize<mode="linear">(p, , , full) y = Tanh(q) }}"""
    file = save(model(text, full=[1, 3, 64, 80]), tmp_path)
    made = onnx2mvit.convert(file, tmp_path / "out", verify=False, image_size=asked)
    assert [*made.report["sizes"]["size_or_factor"].values()] == [2]
    assert ["no multiple of 2" in each for each in made.warnings] == [True] * told


def test_a_size_that_is_no_factor_or_the_images_own_is_not_told(tmp_path: Path) -> None:
    third = """g (float[1,3,64,80] x) => (float[1,3,64,80] y) {
        p = AveragePool<kernel_shape=[3, 3], strides=[3, 3]>(x)
        y = Resize<mode="linear">(p, , , full) }"""
    own = f"""g (float[1,3,H,W] x) => (float[1,3,H,W] y) {{
        {HALF} s = Shape(x) y = Resize<mode="linear">(p, , , s) }}"""
    for text in (third, own):
        network = onnx2mvit.inspect(save(model(text, full=[1, 3, 64, 80]), tmp_path))
        assert "ResizeToInput" in {block.kind for block in network.blocks}
        assert not network.size_or_factor


MEAN = "m = ReduceMean(x, hw) d = Sub(x, m) {y} = ReduceSum<keepdims=0>(d, rest)"


@pytest.mark.parametrize(
    ("row", "batch"),
    [("{y} = ReduceMax<keepdims=0>(x)", 1), (MEAN, "N")],
    ids=["one number for one image", "zero but for rounding"],
)
def test_a_single_number_is_right_at_another_size(
    row: str, batch: int | str, tmp_path: Path
) -> None:
    file = network((row,), tmp_path, SIZE, batch)
    assert onnx2mvit.convert(file, tmp_path / "out", inputs=2, image_size=(48, 36)).passed


def test_a_size_at_which_the_file_does_not_hold_is_not_called_a_fault_of_the_file(
    tmp_path: Path,
) -> None:
    """Windows of 4×4 do not go into an image of odd sides."""
    text = """g (float[N,3,H,W] x) => (float[N,3] y) {
        c = Shape<start=0,end=2>(x)  h = Shape<start=2,end=3>(x)  w = Shape<start=3,end=4>(x)
        u = Div(h, four)  v = Div(w, four)  d = Concat<axis=0>(c, u, four, v, four)
        i = Conv(x, one)  r = Reshape(i, d)  y = ReduceMean<keepdims=0>(r, axes) }"""
    numbers: dict[str, Any] = {"four": [4], "axes": [2, 3, 4, 5]}
    file = save(model(text, one=(3, 3, 1, 1), **numbers), tmp_path)
    with pytest.raises(UnsupportedError, match="can only be made for images of 256×256"):
        onnx2mvit.convert(file, tmp_path, verify=False, image_size="any")
    assert onnx2mvit.convert(file, tmp_path, inputs=2, image_size=(48, 64)).passed
