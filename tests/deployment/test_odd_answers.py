"""Networks whose answers have no batch, or no axes at all, deploy in every format."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.deployment import FORMATS
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs
from tests.support.graphs import model, save

for package in ("ai_edge_litert", "tf2onnx"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")

NO_BATCH = """g (float[1,3,8,8] x) =>
    (float mean, float[3] of_channels, bool bright, int64 whole, float[1] one, float[1,3] scores) {
    mean = ReduceMean<keepdims=0>(x)
    of_channels = ReduceMean<keepdims=0>(x, images_too)
    limit = Constant<value_float=0.5>()
    bright = Greater(mean, limit)
    sum = ReduceSum<keepdims=0>(x)
    whole = Cast<to=7>(sum)
    row = Constant<value_ints=[1]>()
    one = Reshape(mean, row)
    scores = ReduceMean<keepdims=0>(x, space)
}"""
SHAPES = [[], [3], [], [], [1], [1, 3]]
OTHERWISE = """g (float[N,3,8,8] x, float factor) =>
    (float[3,N] turned, bool[N,3] bright, float square, float[N] mean) {
    means = ReduceMean<keepdims=0>(x, space)
    scaled = Mul(means, factor)
    turned = Transpose<perm=[1, 0]>(scaled)
    limit = Constant<value_float=0.5>()
    bright = Greater(means, limit)
    square = Mul(factor, factor)
    all = Constant<value_ints=[1, 2, 3]>()
    mean = ReduceMean<keepdims=0>(x, all)
}"""


@pytest.fixture(scope="module")
def no_batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file, and the folder of its model."""
    output = tmp_path_factory.mktemp("no_batch")
    file = save(model(NO_BATCH, images_too=[0, 2, 3], space=[2, 3]), output)
    return file, onnx2mvit.convert(file, output, verify=False).folder


@pytest.mark.parametrize("format_", [each for each in FORMATS if each != "keras_hub"])
def test_answers_without_a_batch_are_compared_for_every_image(
    no_batch: tuple[Path, Path], tmp_path: Path, format_: str
) -> None:
    file, folder = no_batch
    made = onnx2mvit.deploy(folder, tmp_path, format=format_, onnx=file, inputs=3)
    assert made.passed
    assert made.comparison.count == 3
    assert [each["shape"] for each in made.report["outputs"]] == SHAPES


def test_one_wrong_scalar_among_many_images_is_found(
    no_batch: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, runs = LiteRTRunner.__call__, []

    def wrong_at_last(self: LiteRTRunner, inputs: Inputs) -> Outputs:
        runs.append(inputs)
        answers = run(self, inputs)
        return answers | {"mean": answers["mean"] * (1.01 if len(runs) == 3 else 1)}

    monkeypatch.setattr(LiteRTRunner, "__call__", wrong_at_last)
    assert not onnx2mvit.deploy(no_batch[1], tmp_path, onnx=no_batch[0], inputs=3).passed


def test_a_preset_is_refused(no_batch: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("keras_hub")
    with pytest.raises(UnsupportedError, match="ends in one linear layer"):
        onnx2mvit.deploy(no_batch[1], tmp_path, format="keras_hub")


def test_the_batch_may_be_last_and_an_input_may_have_no_axes(tmp_path: Path) -> None:
    file = save(model(OTHERWISE, space=[2, 3]), tmp_path)
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=3)
    assert result.passed
    made = onnx2mvit.deploy(result.folder, tmp_path, batch=2, onnx=file, inputs=3)
    assert made.passed
    assert [each["axes"] for each in made.report["outputs"]] == [
        ["batch", "3"],
        ["batch", "3"],
        [],
        ["batch"],
    ]
