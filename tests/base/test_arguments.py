"""Arguments of the Python API are checked where they come in, before anything is read."""

from collections.abc import Callable
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.errors import UsageError

WRONG: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (onnx2mvit.convert, {"image_size": "320"}),
    (onnx2mvit.convert, {"image_size": (320,)}),
    (onnx2mvit.convert, {"image_size": (320.0, 320)}),
    (onnx2mvit.convert, {"image_size": (0, 320)}),
    (onnx2mvit.convert, {"head": "10"}),
    (onnx2mvit.convert, {"head": True}),
    (onnx2mvit.convert, {"head": 0}),
    (onnx2mvit.convert, {"head": None}),
    (onnx2mvit.convert, {"inputs": "8"}),
    (onnx2mvit.convert, {"inputs": 0}),
    (onnx2mvit.convert, {"inputs": True}),
    (onnx2mvit.convert, {"verify": "no"}),
    (onnx2mvit.convert, {"blocks": 1}),
    (onnx2mvit.convert, {"patterns": "mine.py"}),
    (onnx2mvit.convert, {"outputs": "boxes"}),
    (onnx2mvit.convert, {"outputs": [1]}),
    (onnx2mvit.convert, {"images": 3}),
    (onnx2mvit.convert, {"name": 3}),
    (onnx2mvit.convert, {"output": None}),
    (onnx2mvit.convert, {"progress": "yes"}),
    (onnx2mvit.inspect, {"size": "320"}),
    (onnx2mvit.verify, {"target": "net", "inputs": 1.5}),
    (onnx2mvit.verify, {"target": None}),
    (onnx2mvit.deploy, {"image_size": "any"}),
    (onnx2mvit.deploy, {"batch": 0}),
    (onnx2mvit.deploy, {"inputs": "8"}),
    (onnx2mvit.benchmark, {"target": "net", "batches": 8}),
    (onnx2mvit.benchmark, {"target": "net", "rounds": 0}),
    (onnx2mvit.evaluate, {"data": "photos", "batch": 0}),
    (onnx2mvit.evaluate, {"data": "photos", "workers": -1}),
    (onnx2mvit.evaluate, {"data": "photos", "limit": "10"}),
    (onnx2mvit.evaluate, {"data": 3}),
    (onnx2mvit.export, {"output": "net.onnx", "image_size": 320}),
    (onnx2mvit.export, {"output": "net.onnx", "num_labels": "10"}),
]


@pytest.mark.parametrize(
    ("function", "wrong"),
    WRONG,
    ids=[f"{function.__name__} {wrong}" for function, wrong in WRONG],
)
def test_what_makes_no_sense_is_said_by_its_name(
    function: Callable[..., Any], wrong: dict[str, Any]
) -> None:
    name = list(wrong)[-1]
    with pytest.raises(UsageError, match=name):
        function("nowhere.onnx", **wrong)


def test_a_path_must_be_one() -> None:
    functions: tuple[Callable[..., Any], ...] = (onnx2mvit.convert, onnx2mvit.inspect)
    for function in functions:
        with pytest.raises(UsageError, match=r"path=b'net\.onnx': give a path"):
            function(b"net.onnx")
