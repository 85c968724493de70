"""Arguments of the Python API, checked where they come in: each name means one thing everywhere."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx2mvit.errors import UsageError

Test = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))


def _several(test: Test) -> Test:
    return lambda value: (
        isinstance(value, Sequence) and not isinstance(value, str) and all(map(test, value))
    )


# What each argument must be, and how that is said; None is allowed where it is the default.
KINDS: dict[str, tuple[Test, str]] = {
    **dict.fromkeys(
        ("path", "target", "output", "images", "calibration", "labels", "onnx", "data", "weights"),
        (_is_path, "a path"),
    ),
    "holdout": (_is_path, "a path"),
    "agreement": (_is_number, "a share of answers, as 0.99"),
    **dict.fromkeys(("name", "format", "precision", "exporter", "engine"), (_is_text, "a text")),
    **dict.fromkeys(
        (
            *("verify", "blocks", "trust_module", "force", "fold_bn", "dynamic_batch", "bgr"),
            *("aware", "hard_activations"),
        ),
        (_is_flag, "True or False"),
    ),
    **dict.fromkeys(
        ("inputs", "batch", "threads", "rounds", "timed", "num_labels", "limit"),
        (_is_count, "a whole number from 1 on"),
    ),
    **dict.fromkeys(("seed", "opset", "warm_up"), (_is_whole, "a whole number")),
    "workers": (lambda value: _is_whole(value) and value >= 0, "a whole number from 0 on"),
    "image_size": (
        lambda value: value == "any" or _is_size(value),
        '(height, width) in pixels, or "any" where one model is to take all sizes',
    ),
    "size": (_is_size, "(height, width) in pixels"),
    **dict.fromkeys(("names", "float32"), (_several(_is_text), "names of blocks")),
    "head": (
        lambda value: value in ("keep", "none") if _is_text(value) else _is_count(value),
        '"keep", "none", or a number of classes',
    ),
    "batches": (_several(_is_count), "whole numbers from 1 on"),
    "patterns": (_several(_is_path), "a list of paths"),
    "targets": (lambda value: _is_path(value) or _several(_is_path)(value), "paths"),
    "outputs": (_several(_is_text), "a list of names"),
    "temperature": (lambda value: _is_number(value) and value > 0, "a positive number"),
    "progress": (callable, "a function"),
    "warn": (callable, "a function"),
}
OPTIONAL = frozenset(
    ("name", "images", "calibration", "holdout", "labels", "onnx", "batch", "threads", "opset")
) | {"agreement", "num_labels", "image_size", "size", "progress", "warn"}


def check_arguments(given: Mapping[str, Any], optional: Sequence[str] = ()) -> None:
    """Makes sure that arguments are what their names say.

    Args:
        given: by name, as `locals()` has them where a function begins; unknown ones are left out.
        optional: names that may be None here beside those that may be everywhere.

    Raises:
        UsageError: one is not, with what it should be.
    """
    for name, value in given.items():
        test, wanted = KINDS.get(name, (lambda _: True, ""))
        if value is None and (name in OPTIONAL or name in optional):
            continue
        if not test(value):
            raise UsageError(f"{name}={value!r}: give {wanted}")
