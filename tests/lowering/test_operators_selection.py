"""Single operators that take parts of tensors, pad and repeat them, or resize them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import inspect
from onnx2mvit.emitter.emit import emit
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save
from tests.support.operators import CONV, code, converted, network, reason

ASYMMETRIC = 'coordinate_transformation_mode="asymmetric"'
NEAREST = f'mode="nearest", nearest_mode="floor", {ASYMMETRIC}'
CUTS: dict[str, Any] = {"one": [1], "two": [2], "three": [3], "minus": [-1], "far": [-99]}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Slice(x, one, three, one)", "$0[:, :, :, 1:3]"),  # channels
        ("Slice(x, minus, far, two, minus)", "ops.flip($0, 1)"),
        ("Slice(x, three, far, two, minus)", "ops.flip($0, 1)[:, -4:]"),
        ("Slice(x, one, big, two, three)", "$0[:, 1::3]"),
        ("Gather<axis=1>(x, picked)", "ops.take($0, [2, 0, 7], axis=3)"),
        ("Gather<axis=1>(x, run)", "$0[:, :, :, 3:6]"),
        ("Gather<axis=2>(x, minus)", "$0[:, -1:]"),
        ("Pad(x, around)", "layers.ZeroPadding2D(((1, 3), (2, 4)))($0)"),
        (
            "Pad(x, around, half)",
            "ops.pad($0, ((0, 0), (1, 3), (2, 4), (0, 0)), constant_values=0.5)",
        ),
        (
            'Pad<mode="reflect">(x, around)',
            "ops.pad($0, ((0, 0), (1, 3), (2, 4), (0, 0)), mode='reflect')",
        ),
        ('Pad<mode="edge">(x, around)', "pad_edge($0, ((0, 0), (1, 3), (2, 4), (0, 0)))"),
        ("Pad(x, less)", "$0[:, 1:-2]"),
        ("Expand(p, shape)", "ops.tile($0, (1, 12, 10, 1))"),
        ("Tile(x, twice)", "ops.tile($0, (1, 2, 1, 1))"),
        ("DepthToSpace<blocksize=2>(x)", "ops.depth_to_space($0, 2)"),
        ('DepthToSpace<blocksize=2, mode="CRD">(x)', "ops.reshape($0, (-1, 24, 20, 2))"),
        ("SpaceToDepth<blocksize=2>(x)", "ops.space_to_depth($0, 2)"),
        (f"Resize<{NEAREST}>(x, , doubled)", "layers.UpSampling2D(name=$name)($0)"),
        (f"Resize<{NEAREST}>(x, , halved)", "$0[:, :-1:2][:, :, :-1:2]"),
        (
            f"Resize<{NEAREST}>(x, , , sizes)",
            "ops.take(ops.take($0, [i * 12 // 7 for i in range(7)]"
            ", axis=1), [i * 10 // 15 for i in range(15)], axis=2)",
        ),
        (
            'Resize<mode="linear">(x, , doubled)',
            "layers.UpSampling2D(interpolation='bilinear', name=$name)($0)",
        ),
        (
            'Resize<mode="linear">(x, , , sizes)',
            "ops.image.resize($0, (7, 15), interpolation='bilinear')",
        ),
        (
            f'Resize<mode="linear", {ASYMMETRIC}>(x, , , sizes)',
            "interpolate_linear(interpolate_linear($0, axis=1, size=7, start=0.0, step=12 / 7), "
            "axis=2, size=15, start=0.0, step=10 / 15)",
        ),
    ],
)
def test_what_it_becomes(node: str, expected: str, tmp_path: Path) -> None:
    numbers = {
        "big": [99],
        "picked": [2, 0, -1],
        "run": [3, 4, 5],
        "around": [0, 0, 1, 2, 0, 0, 3, 4],
        "less": [0, 0, -1, 0, 0, 0, -2, 0],
        "half": 0.5,
        "shape": [1, 8, 12, 10],
        "twice": [1, 1, 2, 1],
        "doubled": [1.0, 1.0, 2.0, 2.0],
        "halved": [1.0, 1.0, 0.5, 0.5],
        "sizes": [3, 8, 7, 15],
    }
    before = "p = GlobalMaxPool(x)  " if "(p" in node else ""
    assert code(f"{before} y = {node}", tmp_path, **CUTS, **numbers)[-1] == expected


def test_parts_answer_as_onnxruntime_in_the_order_that_is_there(tmp_path: Path) -> None:
    found = converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)          b = Slice(a, starts, ends, axes, steps)
        c = Gather<axis=3>(a, square)
        e = Pad<mode="edge">(a, around)          f = Pad<mode="reflect">(a, around)
        g = Pad(a, less, low)                   h = DepthToSpace<blocksize=2, mode="CRD">(a)
        i = SpaceToDepth<blocksize=2>(a)        j = DepthToSpace<blocksize=2>(a)
        k0 = ReduceMax<axes=[2,3]>(a)           k = Expand(k0, shape)
        m = Trilu(a, one)                       n = Tile(a, twice)
        """,
        tmp_path,
        outputs="b c e f g h i j k m n",
        opset=17,
        starts=[1, -1, 9],
        ends=[7, -99, 2],
        axes=[1, 2, 3],
        steps=[2, -1, -3],
        square=[[0, 3], [9, -2]],
        around=[0, 0, 1, 2, 0, 0, 3, 4],
        less=[0, 0, -1, 2, 0, 1, -2, 0],
        low=-1.5,
        shape=[1, 8, 3, 2],
        one=1,
        twice=[1, 2, 1, 3],
        **CONV,
    )
    assert found.transposes == 1  # for the triangle


def test_a_file_for_some_images_may_hold_a_constant_for_each(tmp_path: Path) -> None:
    found = converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)          b = Concat<axis=1>(a, rows)
        c = GatherElements<axis=2>(a, places)   d = GatherND<batch_dims=1>(a, several)
        """,
        tmp_path,
        image="float[3,8,12,10] x",
        outputs="b c d",
        rows=np.ones((3, 2, 12, 10)) * np.arange(10),
        places=[[[[0, 5, 11, 2, 7, 1, 3, 4, 8, 9]] * 3] * 8] * 3,
        several=[[[0, 1], [7, -1], [2, 2]]] * 3,
        **CONV,
    )
    assert found.report["model"]["input_shape"][0] is None


@pytest.mark.parametrize(
    "nodes",
    [
        # x[torch.arange(len(x)), places], as torch's two exporters write it.
        "c = Reshape(i, column)  p = Concat<axis=1>(images, c)  y = GatherND(t, p)",
        "f = Reshape(t, flat)  p = Add(i, starts)  y = Gather(f, p)",
        "k = Reshape(i, several)  p = Concat<axis=1>(k, k)  q = Reshape(p, two) "
        "y = GatherND<batch_dims=1>(t, q)",
    ],
    ids=["by images and places", "by rows", "several of each image"],
)
def test_a_place_that_each_image_computes(tmp_path: Path, nodes: str) -> None:
    """The token with the largest first channel, which is another one for another image."""
    text = f"""t = Reshape(x, tokens)  z = Gather<axis=2>(t, first)
        i = ArgMax<axis=1, keepdims=0>(z)  {nodes}"""
    numbers: dict[str, Any] = {"tokens": [3, 24, 5], "first": 0, "several": [3, 1]}
    numbers |= {"images": [[0], [1], [2]], "starts": [0, 24, 48], "column": [3, 1]}
    numbers |= {"flat": [72, 5], "two": [3, 2, 1]}
    made = converted(text, tmp_path, image="float[3,6,4,5] x", **numbers)
    assert made.report["model"]["input_shape"][0] is None


def test_sizes_answer_as_onnxruntime(tmp_path: Path) -> None:
    found = converted(
        f"""
        a = Conv<pads=[1,1,1,1]>(x, w)
        b = Resize<{NEAREST}>(a, , up)            c = Resize<{NEAREST}>(a, , odd)
        d = Resize<mode="linear">(a, , up)        e = Resize<mode="linear">(a, , odd)
        f = Resize<mode="linear", coordinate_transformation_mode="align_corners">(a, , , sizes)
        g = Resize<mode="cubic">(a, , , sizes)    h = Resize<mode="linear", {ASYMMETRIC}>(a, , up)
        i = Resize<mode="cubic", cubic_coeff_a=-0.5, {ASYMMETRIC}>(a, , odd)
        j = Resize<mode="nearest">(a, , , sizes)
        """,
        tmp_path,
        outputs="b c d e f g h i j",
        up=[1.0, 1.0, 2.0, 3.0],
        odd=[1.0, 1.0, 1.4, 0.55],
        sizes=[1, 8, 7, 15],
        image="float[1,8,12,10] x",
        **CONV,
    )
    assert found.transposes == 0


def test_a_nearest_pixel_that_is_one_of_two_is_refused(tmp_path: Path) -> None:
    """The float32 of 19.5 / 1.3 - 0.5 is a little more than a half; onnxruntime says a half."""
    scales: dict[str, Any] = {"scales": [1.0, 1.0, 1.3, 1.0], "image": "float[N,2,23,9] x"}
    found = reason('y = Resize<mode="nearest">(x, , scales)', tmp_path, **scales)
    assert found == "a position lies between two pixels"


def test_a_scale_that_changes_no_length_changes_nothing(tmp_path: Path) -> None:
    scales: dict[str, Any] = {"scales": [1.0, 1.0, 1.1, 1.1], "image": "float[N,2,8,8] x"}
    assert code('y = Resize<mode="nearest">(x, , scales)', tmp_path, **scales) == ["$0"]


def test_a_size_that_is_written_out_holds_for_the_traced_image_alone(tmp_path: Path) -> None:
    nodes = f"c = Conv(x, w)  y = Resize<{NEAREST}>(c, , {{}})"
    for scales, fixed in (("whole", False), ("odd", True)):
        numbers: dict[str, Any] = {"whole": [1.0, 1.0, 2.0, 2.0], "odd": [1.0, 1.0, 1.37, 1.37]}
        found = network(nodes.format(scales), tmp_path, **numbers, **CONV)
        assert (found.fixed_by is not None) == fixed
    made = model(
        "g (float[N,8,12,10] x) => (float y) { c = Conv(x, w)  y = Slice(c, o, e, a) }",
        o=[0, 0],
        e=[8, 8],
        a=[2, 3],
        **CONV,
    )
    with pytest.raises(UnsupportedError, match="images of 12×10"):
        emit(inspect(save(made, tmp_path)), "net", "test", (24, 20))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Slice(x, one, two, zero)", "Slice over axis 0 mixes the images"),
        ("Gather(x, picked)", "Gather over axis 0 mixes the images"),
        ("Tile(x, batches)", "Tile over axis 0 mixes the images"),
        ('Resize<mode="linear", antialias=1>(x, , halved)', "mode 'linear' with antialias"),
        ('Resize<mode="cubic", exclude_outside=1>(x, , halved)', "leaves out what lies outside"),
        ('Resize<axes=[2,3], keep_aspect_ratio_policy="not_larger">(x, , , seven)', "the ratio"),
        ("GatherElements<axis=1>(x, different)", "a constant differs from image to image"),
    ],
)
def test_what_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    numbers: dict[str, Any] = {
        "zero": [0],
        "picked": [1, 0, 2],
        "batches": [2, 1, 1, 1],
        "halved": [1.0, 1.0, 0.5, 0.5],
        "seven": [7, 7],
        "different": [[[[0]]], [[[1]]], [[[2]]]],
    }
    assert expected in reason(f"y = {node}", tmp_path, **CUTS, **numbers)
