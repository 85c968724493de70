"""Single operators that are activations, and softmax over any axis."""

from pathlib import Path

import pytest

from tests.support.operators import CONV, code, converted, reason

NAMED = "name=$name)($0)"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("LeakyRelu<alpha=0.1>(x)", f"layers.LeakyReLU(negative_slope=0.1, {NAMED}"),
        ("Elu<alpha=1.0>(x)", f"layers.ELU({NAMED}"),
        ("Elu<alpha=0.5>(x)", f"layers.ELU(alpha=0.5, {NAMED}"),
        ("Selu(x)", f"layers.Activation('selu', {NAMED}"),
        ("Selu<alpha=2.0, gamma=3.0>(x)", "ops.multiply(ops.elu($0, alpha=2.0), 3.0)"),
        ("Celu<alpha=2.0>(x)", "ops.celu($0, alpha=2.0)"),
        ("HardSigmoid(x)", "ops.clip(ops.add(ops.multiply($0, 0.2), 0.5), 0.0, 1.0)"),
        ("ThresholdedRelu<alpha=0.5>(x)", "ops.threshold($0, 0.5, 0.0)"),
        ("Mish(x)", f"layers.Activation('mish', {NAMED}"),
        ("Softplus(x)", f"layers.Activation('softplus', {NAMED}"),
        ("Clip(x, one, two)", "ops.clip($0, 1.0, 2.0)"),
        ("Clip(x, two, one)", "ops.minimum(ops.maximum($0, 2.0), 1.0)"),
        ("Clip(x, one)", "ops.maximum($0, 1.0)"),
        ("Clip(x, , two)", "ops.minimum($0, 2.0)"),
        ("Clip(x, zero)", f"layers.Activation('relu', {NAMED}"),
        ("Softmax<axis=1>(x)", f"layers.Softmax({NAMED}"),  # the channels are last in Keras
        ("Softmax<axis=-1>(x)", f"layers.Softmax(axis=2, {NAMED}"),
        ("LogSoftmax<axis=2>(x)", "ops.log_softmax($0, axis=1)"),
        (
            "Hardmax<axis=1>(x)",
            "ops.one_hot(ops.argmax(ops.cast(ops.equal($0, ops.max($0, axis=-1, keepdims=True)), "
            "'int32'), axis=-1), 8, axis=-1)",
        ),
    ],
)
def test_what_it_becomes(node: str, expected: str, tmp_path: Path) -> None:
    numbers = {"zero": 0.0, "one": 1.0, "two": 2.0}
    assert code(f"y = {node}", tmp_path, **numbers) == [expected]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(1, "axis=(1, 2, 3), "), (2, "axis=(1, 2), "), (3, "axis=2, ")],
)
def test_softmax_before_opset_13_goes_over_all_axes_from_one_on(
    axis: int, expected: str, tmp_path: Path
) -> None:
    (text,) = code(f"y = Softmax<axis={axis}>(x)", tmp_path, opset=12)
    assert text == f"layers.Softmax({expected}{NAMED}"


def test_they_answer_as_onnxruntime_in_the_order_that_is_there(tmp_path: Path) -> None:
    found = converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)      b = LeakyRelu<alpha=0.1>(a)
        c = PRelu(b, slopes)                d = PRelu(c, slope)
        e = Selu<alpha=2.0, gamma=3.0>(d)   f = HardSigmoid(e)
        g = Gelu<approximate="tanh">(a)     h = Clip(g, low, high)
        i = LogSoftmax<axis=1>(h)           j = Softmax<axis=2>(i)
        k = Shrink<bias=0.5>(a)             l = PRelu(k, pixels)
        y = Add(j, f)
        """,
        tmp_path,
        outputs="y l",
        slopes=(8, 1, 1),
        slope=(1, 1, 1, 1),
        pixels=(8, 12, 10),
        low=-0.5,
        high=1.5,
        **CONV,
    )
    assert found.transposes == 0
    assert "layers.PReLU(shared_axes=[1, 2], " in found.lines
    assert "layers.PReLU(shared_axes=[1, 2, 3], " in found.lines


def test_softmax_over_several_axes_answers_as_onnxruntime(tmp_path: Path) -> None:
    nodes = "y = Softmax<axis=1>(x)  z = LogSoftmax<axis=2>(x)  h = Hardmax<axis=3>(x)"
    converted(nodes, tmp_path, outputs="y z h", opset=11)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Softmax<axis=0>(x)", "over axis 0 mixes the images"),
        ('Gelu<approximate="erf">(x)', "approximation 'erf' is not known"),
        ("Clip(x, many)", "a bound is no number"),
    ],
)
def test_what_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    assert expected in reason(f"y = {node}", tmp_path, many=[[1.0, 2.0]])
