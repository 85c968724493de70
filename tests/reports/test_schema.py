"""report.json is as docs/report.schema.json says; those of detectors and masks in their tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.version import __version__
from tests.support.graphs import model, save
from tests.support.reports import assert_in_form, validator

pytestmark = pytest.mark.xdist_group("report")

NETWORK = """g (float[N,3,32,32] x) => (float[N,4,32,32] y, float z) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)  e = Erf(y)  z = ReduceMax<keepdims=0>(e, axes)
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("made")
    file = save(model(NETWORK, w=(4, 3, 1, 1), b=(4,), axes=[1, 2, 3]), folder, "tiny.onnx")
    return onnx2mvit.convert(file, folder / "out", inputs=2)


def test_what_is_written_is_in_form_and_says_of_which_versions(made: onnx2mvit.Conversion) -> None:
    report = json.loads((made.folder / "report.json").read_text(encoding="utf-8"))
    assert_in_form(report)
    assert report["schema_version"] == 2
    assert report["versions"]["onnx2mvit"] == __version__
    assert report["single_operators"] and report["verification"]["blocks"]


def test_a_network_that_was_not_compared_is_in_form(
    unproven: Callable[[str], onnx2mvit.Conversion],
) -> None:
    assert_in_form(unproven("hf-mobilevit_xxs.legacy17.bn.dynb").report)


def test_another_head_and_size_are_in_form(
    small: tuple[Path, onnx2mvit.Conversion], tmp_path: Path
) -> None:
    path, _ = small
    made = onnx2mvit.convert(path, tmp_path, head=3, image_size="any", verify=False)
    assert_in_form(made.report)


@pytest.mark.parametrize("key", ["schema_version", "coverage", "verification", "blocks"])
def test_what_lacks_a_part_is_not(made: onnx2mvit.Conversion, key: str) -> None:
    report = {name: part for name, part in made.report.items() if name != key}
    assert not validator().is_valid(json.loads(json.dumps(report)))


def test_a_part_that_nothing_says_is_not(made: onnx2mvit.Conversion) -> None:
    assert not validator().is_valid(json.loads(json.dumps({**made.report, "new": 1})))
