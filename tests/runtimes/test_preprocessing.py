"""Pixels as the published image processors make them, to the last bit, from whatever is given."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import IMAGENET_MEAN, IMAGENET_STD, preprocess
from onnx2mvit.errors import MissingDependencyError, UsageError
from onnx2mvit.runtimes.images import load_images, structured_images

Image = pytest.importorskip("PIL.Image")

SIZES = [(256, 256), (333, 500), (500, 333), (288, 288), (64, 91), (301, 640), (97, 1000)]
MOBILEVIT = {"size": {"shortest_edge": 288}, "resample": 2, "do_normalize": False}


def picture(height: int, width: int) -> np.ndarray:
    """Noise at every scale and edges: every filter and every rounding shows in it."""
    (plane,) = structured_images(8, height, width, 3)[7:]
    noise = np.random.default_rng(0).uniform(0, 0.3, plane.shape)
    levels: np.ndarray = np.round(255 * np.clip(plane * 0.7 + noise, 0, 1)).astype(np.uint8)
    return levels


def processed(model: str, image: object, **arguments: Any) -> np.ndarray:
    """What transformers' image processor makes of it, channels last."""
    transformers = pytest.importorskip("transformers")
    name = f"{model}ImageProcessorPil"
    processor = getattr(transformers, name)(**arguments)
    (pixels,) = processor([image], return_tensors="np")["pixel_values"]
    channels_last: np.ndarray = np.moveaxis(pixels, 0, -1)
    return channels_last


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_mobilevit_is_preprocessed_as_its_processor_does_it(height: int, width: int) -> None:
    image = Image.fromarray(picture(height, width))
    (ours,) = preprocess(image)
    assert ours.shape == (256, 256, 3)
    assert np.array_equal(ours, processed("MobileViT", image, **MOBILEVIT))


@pytest.mark.parametrize("crop", [224, 257, (200, 300), (400, 350)])
def test_every_crop_is_cut_as_the_processor_cuts_it(crop: int | tuple[int, int]) -> None:
    image = Image.fromarray(picture(333, 500))
    height, width = (crop, crop) if isinstance(crop, int) else crop
    (ours,) = preprocess(image, crop=crop, bgr=False)
    theirs = processed(
        "MobileViT",
        image,
        **MOBILEVIT,
        crop_size={"height": height, "width": width},
        do_flip_channel_order=False,
    )
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_vit_is_the_same_function(height: int, width: int) -> None:
    image = Image.fromarray(picture(height, width))
    (ours,) = preprocess(image, size=(224, 224), crop=None, bgr=False, mean=0.5, std=0.5)
    assert np.array_equal(ours, processed("ViT", image))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_mean_and_deviation_of_imagenet_are_the_same_function(height: int, width: int) -> None:
    image = Image.fromarray(picture(height, width))
    (ours,) = preprocess(
        image,
        size=256,
        crop=224,
        resample="bicubic",
        bgr=False,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    theirs = processed(
        "ConvNext",
        image,
        size={"shortest_edge": 224},
        crop_pct=224 / 256,
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    )
    assert np.array_equal(ours, theirs)


def test_paths_pictures_and_arrays_are_the_same(tmp_path: Path) -> None:
    array = picture(300, 320)
    Image.fromarray(array).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    several = preprocess([path, str(path), Image.open(path), array])
    assert several.shape == (4, 256, 256, 3)
    assert several.dtype == np.float32
    assert several.flags.c_contiguous
    for one in several:
        assert np.array_equal(one, preprocess(array)[0])
    assert np.array_equal(preprocess(np.stack([array, array])), several[:2])


def test_pictures_of_different_sizes_come_out_alike() -> None:
    images = [picture(*size) for size in SIZES]
    together = preprocess(images)
    assert together.shape == (len(SIZES), 256, 256, 3)
    for image, pixels in zip(images, together, strict=True):
        assert np.array_equal(preprocess(image)[0], pixels)


def test_blue_comes_first_unless_it_is_not_wanted() -> None:
    red = np.zeros((300, 300, 3), np.uint8)
    red[..., 0] = 255
    assert preprocess(red)[0, 0, 0].tolist() == [0, 0, 1]
    assert preprocess(red, bgr=False)[0, 0, 0].tolist() == [1, 0, 0]


def test_the_mean_is_taken_in_the_order_red_green_blue() -> None:
    grey = np.full((8, 8, 3), 255, np.uint8)
    pixels = preprocess(grey, size=None, crop=None, mean=(0.0, 0.25, 0.5), std=(1.0, 1.0, 0.25))
    assert pixels[0, 0, 0].tolist() == [2, 0.75, 1]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_three_channels(mode: str) -> None:
    image = Image.fromarray(np.full((300, 300, 3), 255, np.uint8)).convert(mode)
    assert preprocess(image).min() > 0.98


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 3), (40, 40, 4)])
def test_grey_and_transparent_arrays_are_taken(shape: tuple[int, ...]) -> None:
    assert preprocess(np.full(shape, 255, np.uint8)).min() == 1


def test_a_photo_that_the_camera_held_sideways_is_turned_upright(tmp_path: Path) -> None:
    upright = picture(300, 400)
    sideways = Image.fromarray(np.rot90(upright))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    sideways.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(preprocess(tmp_path / "a.png"), preprocess(upright))


def test_a_folder_is_read_by_the_same_loader(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = Image.fromarray(np.rot90(picture(30, 40)))
    sideways.save(tmp_path / "a.png", exif=exif)
    (ours,) = preprocess(tmp_path / "a.png", size=None, crop=None, bgr=False)
    (read,) = load_images(tmp_path, 30, 40, 3)
    assert np.allclose(ours, read, atol=1e-7)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int64),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="An array of pixels"):
        preprocess(array)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    for missing in ("broken.png", "nowhere.png"):
        with pytest.raises(UsageError, match=missing):
            preprocess(tmp_path / missing)


def test_pictures_of_no_known_range_are_refused() -> None:
    for mode in ("I", "F"):
        with pytest.raises(UsageError, match="no known range"):
            preprocess(Image.new(mode, (300, 300)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": 0}, "size is a number of pixels"),
        ({"size": (8, -1)}, "size is a number of pixels"),
        ({"size": (8, 8, 8)}, "size is a number of pixels"),
        ({"size": 10_000}, "would come out at 10000×30000000"),
        ({"crop": 0}, "crop is a number of pixels"),
        ({"crop": 100_000}, "would come out at 100000×100000"),
        ({"mean": [1, 2, 3, 4]}, "mean is a number, or three"),
        ({"mean": "grey"}, "mean is a number, or three"),
        ({"std": float("nan")}, "std is a number, or three"),
        ({"std": [1, 0, 1]}, "not 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        preprocess(np.zeros((1, 3000, 3), np.uint8), **{"size": 8, "crop": 8, **arguments})


def test_no_images_are_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        preprocess([])


def test_sizes_that_differ_in_the_end_are_refused() -> None:
    with pytest.raises(UsageError, match="288×288, 288×576: give `crop`"):
        preprocess([picture(40, 40), picture(40, 80)], crop=None)


def test_an_unknown_filter_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="bicubic"):
        preprocess(picture(40, 40), resample="cubic")


def test_without_pillow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"onnx2mvit\[images\]"):
        preprocess("cat.jpg")
