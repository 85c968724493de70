"""What is known of a network's preprocessing: from its configuration, or from the ONNX file.

Configurations are those that people have beside their weights: Hugging Face's
preprocessor_config.json, timm's config.json, the YAML of ml-cvnets, or a JSON file as
`Preprocessing.as_dict` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx2mvit.base.numbers import written_number
from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import one_line
from onnx2mvit.base.user_files import reading
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.preprocessing import (
    ASSUMED,
    BYTE,
    INTERPOLATIONS,
    KNOWN,
    Preprocessing,
    from_dict,
)

METADATA = "onnx2mvit.preprocessing"  # the key in an ONNX file
BESIDE = ("preprocessor_config.json", "config.json")  # what a folder of weights has
# Numbers of pillow's filters, as Hugging Face writes them.
FILTERS = dict(enumerate(("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")))
Config = Mapping[str, Any]
# What a user may say: an object, any of its attributes by name, or the path of a configuration.
Given = Preprocessing | Mapping[str, Any] | str | Path | None


def chosen(path: str | Path | None, **values: str | float | None) -> Preprocessing | Config | None:
    """What options of a command say: a configuration, and values that go before its own.

    Args:
        path: of the configuration, if there is one.
        values: attributes of `Preprocessing`; numbers may be text, with commas and fractions.

    Raises:
        UsageError: as `read_preprocessing`, or a value makes no sense.
    """
    given = {
        key: _number_or_numbers(key, value) if key in ("mean", "std", "scale") else value
        for key, value in values.items()
        if value is not None
    }
    if path is None:
        return given or None
    known = read_preprocessing(path)
    return from_dict({**known.as_dict(), **given}) if given else known


def _number_or_numbers(name: str, text: object) -> float | list[float]:
    parts = str(text).split(",")
    numbers = [number for part in parts if (number := written_number(part)) is not None]
    if len(numbers) != len(parts):
        raise UsageError(f"--{name} {text}: a number such as 0.5 or 1/255 is wanted")
    return numbers[0] if len(numbers) == 1 else numbers


def given_preprocessing(given: Given, known: Preprocessing) -> Preprocessing:
    """What a user says of preprocessing as one object.

    Args:
        given: single values go before those that are known.
        known: what the file says of itself, or an assumption.

    Raises:
        UsageError: as `read_preprocessing`, or a value makes no sense.
    """
    if given is None:
        return known
    if isinstance(given, Preprocessing):
        return given
    if isinstance(given, str | Path):
        return read_preprocessing(given)
    return from_dict({**known.as_dict(), "origin": "the user", **given})


def read_preprocessing(path: str | Path) -> Preprocessing:
    """The preprocessing that a configuration says.

    Args:
        path: a preprocessor_config.json, a config.json or a YAML file, a JSON file of our own, or
            a folder that has one of the first two.

    Raises:
        UsageError: there is no such file, or it says nothing of preprocessing.
        MissingDependencyError: it is YAML, and PyYAML is not installed.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in BESIDE if (path / name).is_file()]
        if not found:
            raise UsageError(f"{path} has neither {' nor '.join(BESIDE)}")
        path = found[0]
    with reading(path, "a configuration (JSON or YAML)", UsageError):
        text = path.read_text(encoding="utf-8")
        given = _yaml(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    if not isinstance(given, dict):
        raise UsageError(f"{path} is no configuration: it holds no names and values")
    return of_config(given, path.name)


def of_config(config: Config, origin: str) -> Preprocessing:
    """The preprocessing that a configuration says, whoever wrote it; `origin` is its name.

    Raises:
        UsageError: it says nothing of preprocessing, or something that makes no sense.
    """
    timm = next((config[key] for key in TIMM if isinstance(config.get(key), dict)), config)
    try:
        if set(config) <= KNOWN and config:
            return from_dict(config, origin)
        if (
            "image_processor_type" in config
            or "feature_extractor_type" in config
            or any(key.startswith("do_") for key in config)
        ):
            return _of_hugging_face(config, origin)
        if "crop_pct" in timm or {"input_size", "mean", "std"} <= set(timm):
            return _of_timm(timm, origin)
        flat = dict(_flat(config))
        if any(key.startswith("image_augmentation.") for key in flat):
            return _of_cvnets(flat, origin)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        message = f"{origin}: what it says of preprocessing cannot be read: {one_line(error)}"
        raise UsageError(message) from error
    raise UsageError(
        f"{origin} says nothing of preprocessing: a preprocessor_config.json of Hugging Face, a "
        f"configuration of timm or ml-cvnets, or JSON with some of {', '.join(sorted(KNOWN))}"
    )


TIMM = ("pretrained_cfg", "default_cfg")


def of_metadata(metadata: Mapping[str, str]) -> Preprocessing:
    """What an ONNX file says of itself; what cannot be read of it is as if it were not there."""
    try:
        given = json.loads(metadata.get(METADATA, "{}"))
        return from_dict(given, "the ONNX file") if given else ASSUMED
    except (ValueError, TypeError, UsageError):
        return ASSUMED


def _yaml(text: str) -> Any:
    yaml = optional("yaml")
    return yaml.safe_load(text)


def _of_hugging_face(config: Config, origin: str) -> Preprocessing:
    """transformers, as its image processors read preprocessor_config.json."""
    made: dict[str, Any] = {"origin": origin}
    size, cut = config.get("size"), config.get("crop_size")
    sides = _sides(size)
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    if config.get("do_center_crop") and cut is not None:
        made["size"] = _sides(cut)
        if isinstance(size, int):
            shortest = size
        if shortest is not None and made["size"] is not None:
            # PoolFormer says so by a share, LeViT does so without a word.
            shortest = int(shortest / (config.get("crop_pct") or 1))
            if str(config.get("image_processor_type")).startswith("Levit"):
                shortest = int(256 / 224 * shortest)
            made["crop"] = min(1.0, min(made["size"]) / shortest)
        elif sides is not None and made["size"] is not None:
            made["crop"] = min(1.0, made["size"][0] / sides[0])
    elif shortest is not None:
        # ConvNeXt: the centre is cut out below 384, and above it nothing is.
        made["size"] = (shortest, shortest)
        share = config.get("crop_pct")
        made["crop"] = share if share is not None and shortest < 384 else 1.0
        if share is not None and shortest >= 384:
            made["crop"] = None
    elif config.get("do_resize", True) and sides is not None:
        made["size"], made["crop"] = sides, None
    if config.get("resample") in FILTERS:
        made["interpolation"] = FILTERS[config["resample"]]
    scale = config.get("rescale_factor", BYTE) if config.get("do_rescale", True) else 1.0
    made["scale"] = scale
    if config.get("do_normalize", config.get("image_mean") is not None):
        made["mean"], made["std"] = config["image_mean"], config["image_std"]
    elif config.get("rescale_offset"):
        made["mean"] = 1.0
    if config.get("include_top") and "image_std" in config:  # EfficientNet divides once more
        deviations = made.get("std", [1.0] * len(config["image_std"]))
        made["std"] = [a * b for a, b in zip(deviations, config["image_std"], strict=True)]
    if config.get("do_flip_channel_order"):
        made["channels"] = "bgr"
    return from_dict(made)


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return size["height"], size["width"]
    return None


def _of_timm(config: Config, origin: str) -> Preprocessing:
    """timm, as its create_transform reads pretrained_cfg."""
    made: dict[str, Any] = {
        "origin": origin,
        "interpolation": config.get("interpolation", "bicubic"),
    }
    if config.get("input_size") is not None:
        made["size"] = list(config["input_size"])[1:]
    squash = config.get("crop_mode") == "squash"
    made["crop"] = None if squash else config.get("crop_pct") or 0.875
    made |= {name: config[name] for name in ("mean", "std") if config.get(name) is not None}
    if made["interpolation"] not in INTERPOLATIONS:  # "random" is for training
        made["interpolation"] = "bilinear"
    return from_dict(made)


def _of_cvnets(config: Config, origin: str) -> Preprocessing:
    """ml-cvnets, as its evaluation reads image_augmentation (data/transforms/image_pil.py)."""

    def of(step: str, key: str) -> Any:
        return config.get(f"image_augmentation.{step}.{key}")

    made: dict[str, Any] = {"origin": origin}
    size = of("resize", "size") if of("resize", "enable") else None
    cut = of("center_crop", "size") if of("center_crop", "enable") else None
    if cut is not None:
        made["size"] = cut
        if isinstance(size, int) and isinstance(cut, int):
            made["crop"] = min(1.0, cut / size)
    elif size is not None:
        made["size"], made["crop"] = size, None if isinstance(size, list) else 1.0
    if of("resize", "interpolation"):
        made["interpolation"] = of("resize", "interpolation")
    if of("to_tensor.mean_std_normalization", "enable"):
        for name in ("mean", "std"):
            made[name] = of("to_tensor.mean_std_normalization", name)
    return from_dict(made)


def _flat(config: Config, before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = f"{before}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found
