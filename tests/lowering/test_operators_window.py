"""Single operators that move a window over images: convolutions and poolings."""

from pathlib import Path

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.runtimes import OnnxRuntimeRunner
from tests.support.graphs import model, save
from tests.support.operators import CONV, code, converted, reason

NAMED = "name=$name)"


def pooled(kernel: int, **attrs: object) -> str:
    size = f"kernel_shape=[{kernel},{kernel}]"
    return ", ".join([size, *(f"{key}={value}" for key, value in attrs.items())])


@pytest.mark.parametrize(
    ("attrs", "shape", "expected"),
    [
        ("pads=[2,1,2,1]", (8, 8, 5, 3), f"layers.Conv2D(8, (5, 3), padding='same', {NAMED}($0)"),
        (
            "strides=[2,1], pads=[1,0,1,0]",
            (8, 8, 3, 1),
            f"layers.Conv2D(8, (3, 1), strides=(2, 1), {NAMED}(layers.ZeroPadding2D((1, 0))($0))",
        ),
        (
            "pads=[1,2,3,4]",
            (8, 8, 3, 3),
            f"layers.Conv2D(8, 3, {NAMED}(layers.ZeroPadding2D(((1, 3), (2, 4)))($0))",
        ),
        (
            "strides=[2,2], dilations=[2,2]",
            (8, 8, 3, 3),
            f"layers.Conv2D(8, 3, dilation_rate=2, {NAMED}($0)[:, ::2, ::2]",
        ),
        (
            "group=8",
            (16, 1, 4, 4),
            f"layers.DepthwiseConv2D(4, depth_multiplier=2, {NAMED}($0)",
        ),
        (
            "group=8, strides=[1,2]",
            (8, 1, 4, 4),
            f"layers.Conv2D(8, 4, strides=(1, 2), groups=8, {NAMED}($0)",
        ),
        ("group=2", (8, 4, 2, 2), f"layers.Conv2D(8, 2, groups=2, {NAMED}($0)"),
    ],
)
def test_what_a_convolution_becomes(
    attrs: str, shape: tuple[int, ...], expected: str, tmp_path: Path
) -> None:
    assert code(f"y = Conv<{attrs}>(x, k, b)", tmp_path, k=shape, b=shape[:1]) == [expected]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ("strides=[2,2]", f"layers.Conv2DTranspose(4, 3, strides=2, use_bias=False, {NAMED}($0)"),
        (
            "strides=[1,1], pads=[1,1,1,1]",
            f"layers.Conv2DTranspose(4, 3, padding='same', use_bias=False, {NAMED}($0)",
        ),
        (
            "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]",
            f"layers.Cropping2D(((1, 0), (1, 0)))"
            f"(layers.Conv2DTranspose(4, 3, strides=2, use_bias=False, {NAMED}($0))",
        ),
        (
            "strides=[2,2], output_padding=[1,0]",
            "layers.Conv2DTranspose(4, 3, strides=2, output_padding=(1, 0), use_bias=False, "
            f"{NAMED}($0)",
        ),
        (
            "strides=[2,2], group=2",
            f"layers.Conv2D(8, 3, use_bias=False, groups=2, {NAMED}"
            "(layers.ZeroPadding2D(2)(spread($0, (2, 2))))",
        ),
    ],
)
def test_what_a_transposed_convolution_becomes(attrs: str, expected: str, tmp_path: Path) -> None:
    assert code(f"y = ConvTranspose<{attrs}>(x, k)", tmp_path, k=(8, 4, 3, 3)) == [expected]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            f"MaxPool<{pooled(5, strides=[2, 2])}>(x)",
            f"layers.MaxPooling2D(5, strides=2, {NAMED}($0)",
        ),
        (
            f"MaxPool<{pooled(2, strides=[2, 2], ceil_mode=1)}>(x)",
            f"layers.MaxPooling2D(2, {NAMED}(ops.pad($0, ((0, 0), (0, 1), (0, 1), (0, 0)), "
            "constant_values=float('-inf')))",  # at odd sizes, which 12 and 10 are not
        ),
        (
            f"MaxPool<{pooled(3, strides=[2, 2], ceil_mode=1)}>(x)",
            f"layers.MaxPooling2D(3, strides=2, {NAMED}(ops.pad($0, ((0, 0), (0, 1), (0, 1), "
            "(0, 0)), constant_values=float('-inf')))",
        ),
        (
            'MaxPool<kernel_shape=[3,2], auto_pad="SAME_UPPER", strides=[2,2]>(x)',
            f"layers.MaxPooling2D((3, 2), strides=2, padding='same', {NAMED}($0)",
        ),
        (
            f"MaxPool<{pooled(3, dilations=[2, 2])}>(x)",
            "ops.max(windows($0, (3, 3), (1, 1), (2, 2)), axis=0)",
        ),
        (
            f"AveragePool<{pooled(3, pads=[1, 1, 1, 1])}>(x)",
            f"layers.AveragePooling2D(3, strides=1, padding='same', {NAMED}($0)",
        ),
        (
            f"AveragePool<{pooled(3, pads=[1, 1, 1, 1], count_include_pad=1)}>(x)",
            f"layers.AveragePooling2D(3, strides=1, {NAMED}(layers.ZeroPadding2D(1)($0))",
        ),
        ("GlobalMaxPool(x)", f"layers.GlobalMaxPooling2D(keepdims=True, {NAMED}($0)"),
    ],
)
def test_what_a_pooling_becomes(node: str, expected: str, tmp_path: Path) -> None:
    assert code(f"y = {node}", tmp_path) == [expected]


def test_windows_answer_as_onnxruntime_on_numbers_of_any_sign(tmp_path: Path) -> None:
    found = converted(
        f"""
        a = Conv<pads=[1,1,1,1]>(x, w)
        b = MaxPool<{pooled(3, strides=[2, 2], pads=[1, 1, 0, 0])}>(a)
        c = AveragePool<{pooled(3, strides=[2, 2], pads=[1, 1, 1, 1])}>(a)
        d = AveragePool<{pooled(3, strides=[2, 2], ceil_mode=1, count_include_pad=1)}>(a)
        e = MaxPool<{pooled(2, dilations=[2, 2], pads=[1, 1, 1, 1])}>(a)
        f = LpPool<{pooled(2, strides=[2, 2])}>(a)
        g = Conv<strides=[2,2], dilations=[2,2], pads=[2,2,2,2]>(a, w)
        h = Conv<group=8, pads=[1,2,2,1]>(a, each)
        i = Conv<group=8, strides=[2,1]>(a, each)
        j = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,0]>(a, v, bias)
        k = ConvTranspose<strides=[3,2], group=2, dilations=[1,2]>(a, v)
        l = ConvTranspose<strides=[2,2], output_padding=[1,1]>(a, v, bias)
        m = GlobalMaxPool(a)
        """,
        tmp_path,
        outputs="b c d e f g h i j k l m",
        each=(16, 1, 4, 4),
        v=(8, 4, 3, 3),
        bias=(4,),
        **CONV,
    )
    assert found.transposes == 0


@pytest.mark.parametrize("side", [16, 17])
def test_steps_that_are_rounded_up_are_so_at_other_sizes(side: int, tmp_path: Path) -> None:
    """Though at the size of the file the last window may end with the image."""
    pool = f"AveragePool<{pooled(3, strides=[2, 2], ceil_mode=1)}>"
    text = f"g (float[N,3,{side},{side}] x) => (float[N,3,a,b] y) {{ y = {pool}(x) }}"
    made = onnx2mvit.convert(
        save(model(text), tmp_path), tmp_path, verify=False, image_size="any"
    ).model
    for height, width in ((32, 33), (35, 38)):
        open_size = model(text.replace(f"{side},{side}", f"{height},{width}"))
        images = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
        session = OnnxRuntimeRunner(open_size.SerializeToString())
        ours = keras.ops.convert_to_numpy(made(images.transpose(0, 2, 3, 1)))
        np.testing.assert_allclose(
            ours.transpose(0, 3, 1, 2), session({"x": images})["y"], rtol=1e-5, atol=1e-5
        )


def test_sequences_and_volumes_have_windows_too(tmp_path: Path) -> None:
    found = converted(
        """
        s = Reshape(x, line)      a = Conv<pads=[1,1], strides=[2]>(s, w1)
        b = Conv<group=8>(s, e1)  c = MaxPool<kernel_shape=[4], strides=[4]>(s)
        t = ConvTranspose<strides=[2]>(s, w1)
        u = Reshape(x, volume)    d = Conv<pads=[1,1,1,1,1,1]>(u, w3)
        e = AveragePool<kernel_shape=[2,2,2], strides=[2,2,2]>(u)
        """,
        tmp_path,
        outputs="a b c t d e",
        line=[0, 8, -1],
        volume=[0, 4, 2, 12, 10],
        w1=(8, 8, 3),
        e1=(8, 1, 3),
        w3=(4, 4, 3, 3, 3),
    )
    kinds = "Conv1D DepthwiseConv1D MaxPooling1D Conv1DTranspose Conv3D AveragePooling3D"
    assert all(f"layers.{kind}(" in found.lines for kind in kinds.split())


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Conv(x, x)", "input 1 is not a constant"),
        (f"MaxPool<{pooled(1, strides=[3, 3], ceil_mode=1)}>(x)", "nothing but padding"),
        (
            'MaxPool<kernel_shape=[2,2], auto_pad="SAME_UPPER", dilations=[2,2]>(x)',
            "it pads a dilated window automatically",
        ),
    ],
)
def test_what_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    assert expected in reason(f"y = {node}", tmp_path)
