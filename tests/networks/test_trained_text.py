"""PaddlePaddle's networks that read text, as rapidocr-onnxruntime carries them (PP-OCR).

Which way round a line of text is, is known where the line is rendered here.
"""

from pathlib import Path

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.runtimes import LiteRTRunner, OnnxRuntimeRunner
from tests.support.trained import DIRECTION, HEIGHT, LINES_IN, PADDLE, WIDTH, file_in, lines

pytestmark = pytest.mark.xdist_group("trained-text")

LINES = 200


def rendered() -> tuple[np.ndarray, np.ndarray]:
    """Lines as the classifier takes them, and whether each stands on its head."""
    shown, turned = lines(LINES)
    return np.asarray(onnx2mvit.preprocess(shown, preprocessing=LINES_IN)), turned


@pytest.fixture(scope="module")
def direction(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    file, folder = file_in(PADDLE, DIRECTION), tmp_path_factory.mktemp("text")
    return onnx2mvit.convert(file, folder, name="direction", image_size=(HEIGHT, WIDTH), inputs=1)


def test_every_node_of_the_direction_is_in_a_block(direction: onnx2mvit.Conversion) -> None:
    coverage = direction.report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 100
    assert direction.report["verification"]["verdict"] == "passed"


def test_the_direction_of_lines_of_text(direction: onnx2mvit.Conversion) -> None:
    file = file_in(PADDLE, DIRECTION)
    pixels, turned = rendered()
    (theirs,) = OnnxRuntimeRunner(file)(pixels.transpose(0, 3, 1, 2)).values()
    ours = np.asarray(direction.model.predict(pixels, verbose=0))
    for answers in (theirs, ours):
        assert (answers.argmax(-1) == turned).sum() >= 0.985 * LINES
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.slow
def test_the_direction_of_lines_of_text_when_deployed(
    direction: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    pixels, turned = rendered()
    deployed = onnx2mvit.deploy(direction.folder, tmp_path, inputs=2)
    runner = LiteRTRunner(deployed.file.read_bytes())
    name = deployed.report["inputs"][0]["name"]
    answers = np.concatenate([next(iter(runner({name: line[None]}).values())) for line in pixels])
    assert deployed.passed and (answers.argmax(-1) == turned).sum() >= 0.985 * LINES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("ch_PP-OCRv4_det_infer.onnx", (96, 160)), ("ch_PP-OCRv4_rec_infer.onnx", (48, 160))],
    ids=["where text is", "what it says"],
)
def test_detector_and_recogniser(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    result = onnx2mvit.convert(
        file_in(PADDLE, name), tmp_path, name="text", image_size=size, inputs=2
    )
    assert result.report["verification"]["verdict"] == "passed"
