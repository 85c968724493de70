"""From photographs to what a network takes, once and for all networks.

The defaults are those of MobileViT's published weights: the shorter side to 288, the centre of
256×256, values in [0, 1], and the channels as blue, green, red.

    preprocess("cat.jpg")                                                 # MobileViT
    preprocess("cat.jpg", size=256, bgr=False)                            # MobileViTv2
    preprocess("cat.jpg", size=232, crop=224, bgr=False,
               mean=IMAGENET_MEAN, std=IMAGENET_STD)                      # ResNet
    preprocess("cat.jpg", size=(224, 224), crop=None, bgr=False,
               mean=0.5, std=0.5)                                         # ViT
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

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
) -> Pixels:
    """Images as a network takes them: float32 (images, height, width, 3).

    `images` is one or several of: a path, a PIL image, an array of uint8 (height, width),
    (height, width, 3) or (height, width, 4). They become RGB, upright as their EXIF data says.

    `size` is what the shorter side is brought to, or (height, width) for both whatever the
    proportions; `crop` cuts that much out of the centre, with black around what is smaller.
    None leaves out the step. `resample` is pillow's filter: "bilinear", "bicubic", "lanczos", ….
    Values are divided by 255; then, in the order red, green, blue, `mean` is taken off and the
    rest divided by `std`; `bgr` turns the channels around in the end.

    Raises:
        UsageError: something is no image, or the images come out at different sizes.
        MissingDependencyError: pillow is not installed.
    """
    sources = [images] if _is_one(images) else list(images)
    if not sources:
        raise UsageError("There are no images to preprocess")
    arrays = [_pixels(_resized(open_image(each), size, resample), crop) for each in sources]
    shapes = sorted({array.shape[:2] for array in arrays})
    if len(shapes) > 1:
        listed = ", ".join(f"{height}×{width}" for height, width in shapes)
        raise UsageError(f"The images come out as {listed}: give `crop`, or `size` as a pair")
    stacked = np.stack(arrays)
    if mean is not None:
        stacked -= np.asarray(mean, np.float32)
    if std is not None:
        stacked /= np.asarray(std, np.float32)
    return np.ascontiguousarray(stacked[..., ::-1]) if bgr else stacked


def open_image(source: Source, mode: str = "RGB") -> Image:
    """A path, a PIL image or an array of uint8 as a PIL image of that mode, upright.

    Raises:
        UsageError: it is none of these.
        MissingDependencyError: pillow is not installed.
    """
    optional("PIL", extra="images")
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, str | Path):
        try:
            with Image.open(source) as image:
                return ImageOps.exif_transpose(image).convert(mode)
        except (UnidentifiedImageError, OSError) as error:
            raise UsageError(f"{source} cannot be read as an image: {error}") from error
    if isinstance(source, Image.Image):
        return ImageOps.exif_transpose(source).convert(mode)
    array = np.asarray(source)
    if array.dtype != np.uint8:
        # 0 to 1, 0 to 255, or normalised already: a guess would be wrong without a word.
        raise UsageError(f"An array of pixels must be of uint8, not {array.dtype}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UsageError(
            f"An array of pixels is (height, width) or (height, width, 3 or 4), "
            f"not {list(array.shape)}"
        )
    return Image.fromarray(array).convert(mode)


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
    if isinstance(size, int):
        width, height = image.size
        shorter = min(width, height)
        # The longer side is rounded down, as torchvision and transformers do it.
        size = (size * height // shorter, size * width // shorter)
    height, width = size
    return image.resize((width, height), method)


def _pixels(image: Image, crop: Size | None) -> Pixels:
    """The centre of a picture in [0, 1]; pillow puts black around what is too small."""
    if crop is not None:
        height, width = (crop, crop) if isinstance(crop, int) else crop
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    wide: Pixels = (np.asarray(image, np.float64) * (1 / 255)).astype(np.float32)
    return wide
