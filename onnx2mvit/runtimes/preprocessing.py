"""From photographs to what a network takes, once and for all networks.

A converted model knows what it takes, as far as anybody has said so:

    preprocess("cat.jpg", preprocessing=mobilevit_xs.PREPROCESSING)

Without that the defaults are those of MobileViT's published weights: the shorter side to 288, the
centre of 256×256, values in [0, 1], and the channels as blue, green, red.

    preprocess("cat.jpg")                                                 # MobileViT
    preprocess("cat.jpg", size=256, bgr=False)                            # MobileViTv2
    preprocess("cat.jpg", size=232, crop=224, bgr=False,
               mean=IMAGENET_MEAN, std=IMAGENET_STD)                      # ResNet
    preprocess("cat.jpg", size=(224, 224), crop=None, bgr=False,
               mean=0.5, std=0.5)                                         # ViT
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.base.user_files import reading
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.preprocessing import BYTE, Preprocessing, from_dict

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
LARGEST = 1 << 27  # pixels

Pixels = np.ndarray[Any, np.dtype[np.float32]]
Source = Any  # a path, a PIL image or an array of uint8; pillow is optional
Size = int | tuple[int, int]


def preprocess(
    images: Source | Sequence[Source],
    *,
    size: Size | None = 288,
    crop: Size | None = 256,
    resample: str = "bilinear",
    bgr: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
) -> Pixels:
    """Images as a network takes them.

    Values are divided by 255; then, in the order red, green, blue, `mean` is taken off and the rest
    divided by `std`; the channels are turned around in the end.

    Args:
        images: one or several of: a path (JPEG, PNG, WebP, BMP), a PIL image, an array of uint8
            (height, width), (height, width, 3) or (height, width, 4). They become RGB of 8 bits,
            upright as their EXIF data says; transparency is left out, and of an animation the first
            picture is taken.
        size: what the shorter side is brought to, in pixels, or (height, width) for both whatever
            the proportions; None leaves out the step.
        crop: pixels, or (height, width), that are cut out of the centre, with black around what is
            smaller; None leaves out the step.
        resample: pillow's filter: "bilinear", "bicubic", "lanczos", ….
        bgr: whether blue comes first in the end, as MobileViT was trained.
        mean: one number, or three in the order red, green, blue, of values in [0, 1]; None for 0.
        std: likewise; None for 1.
        preprocessing: says all of this instead, at the `size` in it: PREPROCESSING of a converted
            module, what its report.json has under that name, or an object of that class.

    Returns:
        float32 (images, height, width, 3).

    Raises:
        UsageError: something is no image, the images come out at different sizes, or an argument
            makes no sense.
        MissingDependencyError: pillow is not installed.
    """
    scales = [_per_channel(name, value) for name, value in (("mean", mean), ("std", std))]
    sources = [images] if _is_one(images) else list(images)
    if not sources:
        raise UsageError("There are no images to preprocess")
    if preprocessing is not None:
        given = preprocessing
        how = given if isinstance(given, Preprocessing) else from_dict(given)
        if how.size is None:
            raise UsageError("preprocessing: it has no size; give it one")
        return prepared(sources, how, how.size)
    found = [_cut(_resized(open_image(each), size, resample), crop) for each in sources]
    sizes = sorted({image.size[::-1] for image in found})
    if len(sizes) > 1:
        listed = ", ".join(f"{height}×{width}" for height, width in sizes)
        raise UsageError(f"The images come out as {listed}: give `crop`, or `size` as a pair")
    return _normalized(found, BYTE, *scales, bgr=bgr)


def prepared(
    images: Sequence[Source], how: Preprocessing, size: tuple[int, int], channels: int = 3
) -> Pixels:
    """Images as a network takes them: float32 (images, height, width, channels).

    Args:
        images: as those of `preprocess`.
        how: what is done to them; of its `size` nothing is asked.
        size: height and width of what comes out.
        channels: 3, or 1 for grey.

    Raises:
        UsageError: something is no image, or one of three channels is to be made grey.
        MissingDependencyError: pillow is not installed.
    """
    mean, std = (np.asarray(each, np.float32) for each in (how.mean, how.std))
    if channels == 1 and max(mean.size, std.size) > 1:
        raise UsageError("preprocessing: the model takes grey images, and mean or std are for RGB")
    mode = "RGB" if channels == 3 else "L"
    found = [_covering(open_image(each, mode), how, size) for each in images]
    return _normalized(found, how.scale, mean, std, bgr=how.channels == "bgr" and channels == 3)


def _covering(image: Image, how: Preprocessing, size: tuple[int, int]) -> Image:
    """The centre of an image, as large as `size`, or all of it where nothing is cut off."""
    from PIL.Image import Resampling

    method, (height, width) = Resampling[how.interpolation.upper()], size
    if how.crop is None:
        return image.resize((width, height), method)
    # Of what covers both, one side fits; the other is rounded down, as in `_resized`.
    wanted = [int(side / how.crop + 1e-6) for side in size]
    tall = wanted[0] * image.width >= wanted[1] * image.height
    side, own = (wanted[0], image.height) if tall else (wanted[1], image.width)
    other = side * (image.width if tall else image.height) // own
    rows, columns = (side, max(other, width)) if tall else (max(other, height), side)
    if rows * columns > LARGEST:
        raise UsageError(f"An image would come out at {rows}×{columns}")
    left, top = (columns - width) // 2, (rows - height) // 2
    resized = image.resize((columns, rows), method)
    return resized.crop((left, top, left + width, top + height))


def open_image(source: Source, mode: str = "RGB") -> Image:
    """A path, a PIL image or an array of uint8 as a PIL image of that mode, upright.

    Raises:
        UsageError: it is none of these, or of more pixels than pillow takes for harmless.
        MissingDependencyError: pillow is not installed.
    """
    optional("PIL")
    from PIL import Image

    if isinstance(source, str | Path):
        with (
            reading(source, "an image (JPEG, PNG, WebP or BMP)", UsageError),
            Image.open(source, formats=FORMATS) as image,
        ):
            most = Image.MAX_IMAGE_PIXELS
            if most is not None and image.width * image.height > most:
                raise UsageError(f"{source} is too large: {image.width}×{image.height} pixels")
            return _upright(image, mode)
    if isinstance(source, Image.Image):
        return _upright(source, mode)
    array = np.asarray(source)
    if array.dtype != np.uint8:
        # 0 to 1, 0 to 255, or normalised already: a guess would be wrong without a word.
        raise UsageError(f"An array of pixels must be of uint8, not {array.dtype}")
    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (3,), (4,)):
        raise UsageError(
            f"An array of pixels is (height, width) or (height, width, 3 or 4), "
            f"not {list(array.shape)}"
        )
    return Image.fromarray(array).convert(mode)


def _upright(image: Image, mode: str) -> Image:
    """A picture of 8 bits a channel: one of 16 is scaled, as conversion would cut it off at 255."""
    from PIL.Image import fromarray
    from PIL.ImageOps import exif_transpose

    image = exif_transpose(image)
    # Before version 12 pillow has 16 bits of a PNG in an image of 32.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UsageError(f"An image of mode {image.mode} has no known range: make it one of 8 bits")
    return image.convert(mode)


def _per_channel(name: str, value: float | Sequence[float] | None) -> Pixels | None:
    """`mean` or `std`: a number, or three."""
    if value is None:
        return None
    try:
        numbers = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        numbers = np.full(2, np.nan, np.float32)
    if numbers.shape not in ((), (3,)) or not np.isfinite(numbers).all():
        raise UsageError(f"{name} is a number, or three for red, green and blue, not {value!r}")
    if name == "std" and not numbers.all():
        raise UsageError("std is what is divided by, and not 0")
    return numbers


def _pair(name: str, size: Size) -> tuple[int, int]:
    """`size` or `crop` as height and width."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(each, int) and each > 0 for each in pair):
        raise UsageError(f"{name} is a number of pixels, or (height, width), not {size!r}")
    return pair


def _is_one(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return not isinstance(images, Sequence) or isinstance(images, str)


def _resized(image: Image, size: Size | None, resample: str) -> Image:
    from PIL.Image import Resampling

    if size is None:
        return image
    try:
        method = Resampling[resample.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in Resampling)
        raise UsageError(f"{resample!r} is no way to resample: {known}") from None
    height, width = _pair("size", size)
    if isinstance(size, int):
        shorter = min(image.size)
        # The longer side is rounded down, as torchvision and transformers do it.
        height, width = size * image.height // shorter, size * image.width // shorter
    if height * width > LARGEST:
        raise UsageError(f"An image would come out at {height}×{width}")
    return image.resize((width, height), method)


def _cut(image: Image, crop: Size | None) -> Image:
    """The centre of a picture; pillow puts black around what is too small."""
    if crop is not None:
        height, width = _pair("crop", crop)
        if height * width > LARGEST:
            raise UsageError(f"An image would come out at {height}×{width}")
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    return image


def _normalized(
    images: Sequence[Image], scale: float, mean: Pixels | None, std: Pixels | None, *, bgr: bool
) -> Pixels:
    """Pictures of one size as float32 (images, height, width, channels)."""
    arrays = [(np.asarray(image, np.float64) * scale).astype(np.float32) for image in images]
    stacked: Pixels = np.stack([array.reshape(*array.shape[:2], -1) for array in arrays])
    if mean is not None:
        stacked -= mean
    if std is not None:
        stacked /= std
    return np.ascontiguousarray(stacked[..., ::-1]) if bgr else stacked
