"""Images to compare on: made ones are varied and always the same, read ones are fitted."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx2mvit.errors import UsageError
from onnx2mvit.runtimes.images import load_images, structured_images

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels: object, mode: str = "RGB") -> None:
    Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode).save(path)


def halves(height: int, width: int) -> np.ndarray:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return pixels


def test_made_images_have_the_shape_and_type_that_was_asked_for() -> None:
    images = structured_images(9, 24, 40, 2)
    assert images.shape == (9, 24, 40, 2)
    assert images.dtype == np.float32


def test_made_images_lie_between_0_and_1_and_use_that_range() -> None:
    images = structured_images(64, 32, 32, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    assert np.ptp(images) > 0.9
    assert np.isfinite(images).all()


def test_made_images_are_all_different() -> None:
    images = structured_images(64, 16, 16, 3).reshape(64, -1)
    distances = np.abs(images[:, None] - images[None]).max(-1)
    assert (distances + np.eye(64)).min() > 0.1


def test_no_made_image_is_of_one_colour() -> None:
    images = structured_images(64, 32, 32, 3).reshape(64, -1, 3)
    assert np.ptp(images, axis=1).max(axis=1).min() > 0.1


@pytest.mark.parametrize("count", [0, -1, 10**20])
def test_none_and_more_than_fit_into_memory_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="images of 8×8 cannot be made"):
        structured_images(count, 8, 8, 3)


def test_the_same_seed_makes_the_same_images() -> None:
    first = structured_images(8, 16, 16, 3, seed=7)
    assert np.array_equal(first, structured_images(8, 16, 16, 3, seed=7))
    assert not np.array_equal(first, structured_images(8, 16, 16, 3, seed=8))


def test_more_images_begin_with_the_fewer() -> None:
    fewer, more = structured_images(3, 16, 16, 3), structured_images(8, 16, 16, 3)
    assert np.array_equal(more[:3], fewer)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, grey in (("b.png", 200), ("a.png", 100), ("c.bmp", 50)):
        save(tmp_path / name, np.full((8, 8, 3), grey))
    (tmp_path / "notes.txt").write_text("no image")
    images = load_images(tmp_path, 8, 8, 3)
    assert images.shape == (3, 8, 8, 3)
    assert images.dtype == np.float32
    assert np.allclose(images[:, 0, 0, 0], np.array([100, 200, 50]) / 255)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 8), (5, 12)])
@pytest.mark.parametrize(("from_height", "from_width"), [(8, 8), (32, 64), (64, 32), (20, 30)])
def test_images_of_any_size_are_fitted(
    tmp_path: Path, height: int, width: int, from_height: int, from_width: int
) -> None:
    save(tmp_path / "a.png", halves(from_height, from_width))
    (image,) = load_images(tmp_path, height, width, 3)
    assert image.shape == (height, width, 3)
    assert image.min() >= 0
    assert image.max() <= 1
    red, _, blue = image.transpose(2, 0, 1)
    assert red[:, 0].min() > 0.9 > 0.1 > red[:, -1].max()
    assert blue[:, -1].min() > 0.9 > 0.1 > blue[:, 0].max()


def test_the_centre_is_cut_out_and_nothing_is_squeezed(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    save(tmp_path / "a.png", pixels)
    assert load_images(tmp_path, 10, 10, 3).min() == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode_becomes_what_the_model_takes(tmp_path: Path, mode: str, channels: int) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    save(tmp_path / name, np.full((8, 8, 3), 255), mode)
    images = load_images(tmp_path, 8, 8, channels)
    assert images.shape == (1, 8, 8, channels)
    assert images.min() > 0.98


def test_no_more_than_the_limit_are_read(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / f"{index}.png", np.full((4, 4, 3), index))
    assert len(load_images(tmp_path, 4, 4, 3, limit=2)) == 2


def png(width: int, height: int, before: bytes = b"") -> bytes:
    """A PNG of which there is no more than the header, and chunks after it."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + before + chunk(b"IDAT", b"x")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def as_format(name: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(halves(8, 8)).save(path, format=name)


def cut_off(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(path, format=name)
        path.write_bytes(path.read_bytes()[:2000])

    return make


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "text": lambda path: path.write_bytes(b"no image at all"),
    "header alone": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n cut off"),
    "png cut off": cut_off("PNG"),
    "jpeg cut off": cut_off("JPEG"),
    "webp cut off": cut_off("WEBP"),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
    "bomb that pillow refuses": lambda path: path.write_bytes(png(14_000, 14_000)),
    "bomb that pillow warns of": lambda path: path.write_bytes(png(10_000, 10_000)),
    "bomb in a text": lambda path: path.write_bytes(
        png(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(70_000_000))))
    ),
    "tiff": as_format("TIFF"),
    "gif": as_format("GIF"),
    "psd": lambda path: path.write_bytes(b"8BPS\0\1" + bytes(6) + b"\0\3" + bytes(60)),
    "postscript": lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n"),
}


def test_folders_in_it_are_read_alike(tmp_path: Path) -> None:
    for number, name in enumerate(("cats", "dogs", "more/dogs")):
        (tmp_path / name).mkdir(parents=True)
        for each in range(4):
            colour = (40 * number, 10 * each, 0)
            Image.new("RGB", (4, 4), colour).save(tmp_path / name / f"{each}.png")
    found = load_images(tmp_path, 4, 4, 3, limit=6)
    assert np.round(255 * found[:, 0, 0, 0]).tolist() == [0, 0, 40, 40, 80, 80]
    assert len(load_images(tmp_path, 4, 4, 3, limit=100)) == 12


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_image_that_we_open_is_named(tmp_path: Path, what: str) -> None:
    UNREADABLE[what](tmp_path / "odd.png")
    with pytest.raises(UsageError, match=r"^\S*odd\.png (is|does|cannot be read) "):
        load_images(tmp_path, 8, 8, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [300, 32_768, 65_535])
def test_sixteen_bits_are_scaled(tmp_path: Path, value: int, channels: int) -> None:
    Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / "a.png")
    assert load_images(tmp_path, 8, 8, channels) == pytest.approx(value / 65_535, abs=1 / 255)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match="holds no images"):
        load_images(tmp_path, 8, 8, 3)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        load_images(tmp_path / "nowhere", 8, 8, 3)


def test_other_than_1_or_3_channels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((4, 4, 3)))
    with pytest.raises(UsageError, match="4 channels"):
        load_images(tmp_path, 8, 8, 4)
