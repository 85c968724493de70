"""What the page says of how a model is used runs as it stands there."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnx2mvit
from onnx2mvit.reports.page import render
from tests.support.graphs import model, save

CLASSIFIER = """g (float[N,3,32,32] image) => (float[N,10] logits) {
    a = Conv<pads=[1,1,1,1]>(image, w1)  b = Relu(a)  c = GlobalAveragePool(b)
    d = Flatten(c)  logits = Gemm<transB=1>(d, w2, b2) }"""
WEIGHTS: dict[str, Any] = {"w1": (8, 3, 3, 3), "w2": (10, 8), "b2": (10,)}
FILTER = "g (float[N,4,32,32] x) => (float[N,4,32,32] y) { y = Sin(x) }"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an ONNX file and a photograph in it; modules that are imported go again."""
    save(model(CLASSIFIER, **WEIGHTS), tmp_path, "net.onnx")
    save(model(FILTER), tmp_path, "waves.onnx")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) & {"net"} - before:
        del sys.modules[name]


def snippets(page: str) -> list[str]:
    found = re.findall(r'<pre class="use"[^>]*>(.*?)</pre>', page, re.DOTALL)
    return [html.unescape(each) for each in found]


@pytest.mark.parametrize("size", [None, "any"])
def test_the_code_runs_in_the_folder(
    size: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = onnx2mvit.convert(here / "net.onnx", here, verify=False, image_size=size)
    code, shell = snippets((made.folder / "report.html").read_text(encoding="utf-8"))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(made.folder / "photo.jpg")
    monkeypatch.chdir(made.folder)
    monkeypatch.syspath_prepend(str(made.folder))
    images = np.zeros((2, 32, 32, 3), np.float32)
    names: dict[str, Any] = {"images": images, "labels": np.arange(2)}
    exec(code, names)
    assert names["answers"].shape == (1, 10) and names["tuned"].output_shape == (None, 10)
    assert "onnx2mvit verify net.onnx ." in shell


def test_what_is_for_no_photographs_and_has_no_head_is_loaded(here: Path) -> None:
    made = onnx2mvit.convert(here / "waves.onnx", here, verify=False)
    code, _ = snippets((made.folder / "report.html").read_text(encoding="utf-8"))
    assert code.split() == [
        *("import", "keras"),
        *("model", "=", 'keras.models.load_model("waves.keras")'),
    ]


def test_a_hostile_name_is_one_word_of_the_shell(here: Path) -> None:
    made = onnx2mvit.convert(here / "net.onnx", here, verify=False)
    onnx = {**made.report["onnx"], "file": "a; rm -rf $(pwd).onnx"}
    _, shell = snippets(render({**made.report, "onnx": onnx}, ""))
    assert "verify 'a; rm -rf $(pwd).onnx' ." in shell
