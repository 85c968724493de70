"""Where float32 leaves a doubt, float64 decides: what is right passes, what is wrong does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import onnx2mvit
from onnx2mvit.builder import build
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes import OnnxRuntimeRunner, structured_images
from onnx2mvit.verifier.float64 import TURNS_ROUND, judge
from onnx2mvit.verifier.judgement import Doubt
from onnx2mvit.verifier.reference_outputs import (
    ReferenceOutputs,
    ReferenceTensors,
    reference_outputs,
)
from onnx2mvit.verifier.verify_model import verify_model
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("float64")

# What stands out of a thousand is taken off and the rest normalized: four digits are left of it.
ILL_CONDITIONED = """g (float[N,3,12,12] x) => (float[N,5] y) {
    c = Conv<pads=[1,1,1,1]>(x, w0, b0)
    m = ReduceMean<axes=[2,3]>(c)
    d = Sub(c, m)
    h = Conv<pads=[1,1,1,1]>(d, w1)
    n = BatchNormalization<epsilon=0.00001>(h, one, shift, shift, variance)
    r = Div(n, root)  e = Erf(r)  p = Add(e, unit)  q = Mul(n, p)  a = Mul(q, half)
    g = GlobalAveragePool(a)  f = Flatten(g)
    y = Gemm<transB=1>(f, w2, b2)
}"""
Case = tuple[Path, Network, ReferenceOutputs]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """The file, what was read of it, onnxruntime's answers, and the converted folder."""
    folder = tmp_path_factory.mktemp("ill")
    made = model(
        ILL_CONDITIONED,
        opset=17,
        w0=(4, 3, 3, 3),
        b0=np.full(4, 1000.0),
        w1=(4, 4, 3, 3),
        one=np.ones(4),
        shift=np.full(4, 0.1),
        variance=np.full(4, 0.01),
        root=np.sqrt(2.0),
        unit=np.array(1.0),
        half=np.array(0.5),
        w2=(5, 4),
        b2=(5,),
    )
    file = save(made, folder)
    network = onnx2mvit.inspect(file)
    images = structured_images(2, 12, 12, 3).transpose(0, 3, 1, 2)
    reference = reference_outputs(file, network, {"x": images}, "two images")
    converted = onnx2mvit.convert(file, folder, name="net", verify=False)
    return (file, network, reference), converted.folder


def test_a_right_model_of_an_ill_conditioned_network_passes_and_words_say_why(
    case: tuple[Case, Path],
) -> None:
    (file, network, reference), folder = case
    found = verify_model(file, network, build(folder), reference)
    assert max(block["max_rel_error"] for block in found.blocks) > found.tolerance
    assert found.passed
    assert found.begins is None
    assert found.float64 is not None
    assert "from the float64 answer" in found.float64["words"]
    assert found.float64["distances"]


def test_a_weight_that_is_not_the_file_s_fails_however_little_it_changes(
    case: tuple[Case, Path],
) -> None:
    (file, network, reference), folder = case
    changed = build(folder)
    (bias,) = (each for each in changed.weights if each.path == "classifier_0/bias")
    bias.assign(bias * (1 + 1e-6))
    found = verify_model(file, network, changed, reference)
    assert not found.passed
    (note,) = (note for note in found.notes if "weights are not those of the file" in note)
    assert note.startswith("1 of 9 weights") and "classifier_0/bias by " in note


def test_a_model_that_was_trained_further_is_said_to_be_that(case: tuple[Case, Path]) -> None:
    (file, network, reference), folder = case
    tuned = build(folder)
    for variable in tuned.trainable_variables:
        variable.assign(variable * 1.5)
    found = verify_model(file, network, tuned, reference)
    note = found.notes[0]
    assert not found.passed
    assert "as in a model that was trained further" in note and "by 5.0e-01" in note
    assert "and 4 more" in note


def test_what_is_below_float32_s_normal_numbers_may_be_flushed_to_zero(tmp_path: Path) -> None:
    tiny = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Div(x, d) }"
    made = onnx2mvit.convert(save(model(tiny, d=np.array([3e38])), tmp_path), tmp_path, inputs=2)
    assert made.passed


def test_an_answer_of_zero_but_for_rounding_passes(tmp_path: Path) -> None:
    text = """g (float[N,3,16,16] x) => (float[N,5] y, float[N,3] z) {
        m = ReduceMean<keepdims=1>(x, axes)  d = Sub(x, m)  z = ReduceMean<keepdims=0>(d, axes)
        q = MatMul(z, k)  y = Add(q, b)
    }"""
    made = model(text, axes=np.array([2, 3]), k=(3, 5), b=np.ones(5))
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path, inputs=4)
    assert result.passed
    (note,) = result.report["verification"]["notes"]
    assert note.startswith("y is the same for every input")


def test_what_a_computed_grid_samples_is_as_far_off_as_its_places(tmp_path: Path) -> None:
    """Images of hundreds make a grid that turns round many times; rounding moves its places."""
    text = """g (float[N,3,16,16] x) => (float[N,3,16,16] y) {
        c = Conv(x, w)  g = Transpose<perm=[0,2,3,1]>(c)
        y = GridSample<mode="bilinear", padding_mode="reflection">(x, g)
    }"""
    made = save(model(text, opset=16, w=(2, 3, 1, 1)), tmp_path)
    assert onnx2mvit.convert(made, tmp_path, inputs=4).passed


def scaled(key: str) -> Callable[[dict[str, np.ndarray], str], str]:
    def change(weights: dict[str, np.ndarray], source: str) -> str:
        weights[key] = weights[key] * np.float32(1 + 1e-4)
        return source

    return change


def replaced(old: str, new: str) -> Callable[[dict[str, np.ndarray], str], str]:
    def change(_weights: dict[str, np.ndarray], source: str) -> str:
        assert old in source
        return source.replace(old, new)

    return change


def shifted(weights: dict[str, np.ndarray], source: str) -> str:
    """Padding that is off by one: what stood in the middle of a window stands at its side."""
    kernel = weights["conv_bn_act_1_conv/kernel"]
    weights["conv_bn_act_1_conv/kernel"] = np.roll(kernel, 1, axis=0)
    return source


@pytest.mark.parametrize(
    "change",
    [
        scaled("conv_bn_act_0_conv/kernel"),
        scaled("conv_bn_act_1_conv/kernel"),
        scaled("conv_bn_act_1_bn/gamma"),
        scaled("classifier_0/kernel"),
        scaled("classifier_0/bias"),
        replaced("bn_epsilon=1e-5", "bn_epsilon=1e-4"),
        replaced("bn_epsilon=1e-5", "bn_epsilon=2e-5"),
        replaced(
            'layers.Activation(activation, name=f"{name}_act")(x)',
            'layers.Identity(name=f"{name}_act")(ops.gelu(x, approximate=True))',
        ),
        replaced("ops.subtract(x, global_mean_0)", "ops.subtract(x, global_mean_0 * 1.0001)"),
        shifted,
    ],
)
def test_a_wrong_model_of_it_never_passes(
    case: tuple[Case, Path],
    tmp_path: Path,
    change: Callable[[dict[str, np.ndarray], str], str],
) -> None:
    (file, network, reference), folder = case
    weights = safetensors.numpy.load_file(folder / "net.safetensors")
    source = change(weights, (folder / "net.py").read_text())
    (tmp_path / "net.py").write_text(source)
    safetensors.numpy.save_file(weights, tmp_path / "net.safetensors")
    found = verify_model(file, network, build(tmp_path), reference)
    assert not found.passed
    assert found.float64 is not None
    assert found.float64["verdict"] == "wrong"


MASK = """g (float[N,3,8,8] x) => (int64[N,8,8] mask) {
    c = Conv<pads=[1,1,1,1]>(x, w)  mask = ArgMax<axis=1, keepdims=0>(c) }"""


def test_which_of_two_that_are_alike_is_the_largest_is_rounding(tmp_path: Path) -> None:
    """A place of a mask differs in float32; in float64 the model and the file agree."""
    file = save(model(MASK, w=(4, 3, 3, 3)), tmp_path)
    network = onnx2mvit.inspect(file)
    made = onnx2mvit.convert(file, tmp_path, verify=False).model
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    one, other = ({"x": part} for part in (images[:1], images[1:]))
    session = OnnxRuntimeRunner(file)
    theirs, tensors = session(one), ReferenceTensors(session, network, one)
    ours = {"mask": theirs["mask"].copy()}
    ours["mask"][0, 0, 0] += 1
    found = judge(file, network, made, [Doubt(0, one, other, theirs, ours, tensors, [])])
    assert found.verdict == "right", found.words
    ours["mask"][0] += 1  # but never in all places
    found = judge(file, network, made, [Doubt(0, one, other, theirs, ours, tensors, [])])
    assert found.verdict == "wrong"


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "right"), (0.3, "wrong")])
def test_what_is_rounded_jumps_only_where_two_whole_numbers_are_as_near(
    tmp_path: Path, share: float, verdict: str
) -> None:
    """A quarter of the places end in this share; in one the answer is the next whole number."""
    text = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { h = Mul(x, k)  y = Round(h) }"
    file = save(model(text, k=np.array(1 - 2e-7)), tmp_path)
    network = onnx2mvit.inspect(file)
    made = onnx2mvit.convert(file, tmp_path, verify=False).model
    images = np.full((2, 3, 8, 8), 0.1, np.float32)
    images[:, :, ::2, ::2] = share
    one, other = ({"x": part} for part in (images[:1], images[1:]))
    session = OnnxRuntimeRunner(file)
    theirs, tensors = session(one), ReferenceTensors(session, network, one)
    ours = {"y": theirs["y"].copy()}
    assert judge(file, network, made, [Doubt(0, one, other, theirs, ours, tensors, [])]).verdict
    ours["y"][0, 0, 0, 0] += 1
    found = judge(file, network, made, [Doubt(0, one, other, theirs, ours, tensors, [])])
    assert found.verdict == verdict, found.words


def test_a_scale_before_a_mask_is_seen_though_the_mask_is_the_same(tmp_path: Path) -> None:
    """The border before the mask is compared, and judged by itself."""
    text = MASK.replace("mask = ArgMax<axis=1, keepdims=0>(c)", "")
    text = text.replace("}", "s = Sin(c)  mask = ArgMax<axis=1, keepdims=0>(s) }")
    file = save(model(text, w=(4, 3, 3, 3)), tmp_path)
    network = onnx2mvit.inspect(file)
    folder = onnx2mvit.convert(file, tmp_path, name="net", verify=False).folder
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    reference = reference_outputs(file, network, {"x": images}, "two images")
    assert verify_model(file, network, build(folder), reference).passed
    source = (folder / "net.py").read_text()
    assert "ops.sin(" in source
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "net.py").write_text(source.replace("ops.sin(", "ops.sin(1.0001 * "))
    (wrong / "net.safetensors").write_bytes((folder / "net.safetensors").read_bytes())
    found = verify_model(file, network, build(wrong), reference)
    assert found.max_abs_error == 0  # of the mask
    assert not found.passed and found.float64 is not None
    assert found.float64["verdict"] == "wrong"


BEYOND_64_BITS = """g (float[N,3,8,8] x) => (int64[N,3] y) {
    a = Mul(x, large)  c = Cast<to=7>(a)  y = ReduceSum<keepdims=0>(c, axes) }"""


def test_integers_beyond_what_their_type_holds_are_told(tmp_path: Path) -> None:
    file = save(model(BEYOND_64_BITS, large=np.float32(2e16), axes=[2, 3]), tmp_path)
    judged = onnx2mvit.convert(file, tmp_path, inputs=4).report["verification"]["float64"]
    assert judged["words"].endswith(TURNS_ROUND)
