"""KerasHub presets: KerasHub alone loads them, answers as the model, and makes other heads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.deployment import Deployment
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save

WITHOUT = "keras-hub is not installed: pip install 'onnx2mvit[keras-hub]'"
pytest.importorskip("keras_hub", reason=WITHOUT)
pytestmark = pytest.mark.xdist_group("keras-hub")

SIZE, CLASSES = 32, 5
BODY = f"""g (float[N,3,{SIZE},{SIZE}] pixels) => (float[N,{CLASSES}] scores) {{
    c = Conv<pads=[1,1,1,1]>(pixels, w, b)  r = Relu(c)
    p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  HEAD
}}"""
HEADS = {
    "logits": "scores = Gemm<transB=1>(f, v, d)",
    "softmax": "s = Gemm<transB=1>(f, v, d)  scores = Softmax<axis=-1>(s)",
    "hidden": "h = Gemm<transB=1>(f, u, a)  k = Relu(h)  scores = Gemm<transB=1>(k, v, d)",
}
HOW = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "channels": "bgr"}
# Runs where onnx2mvit cannot be imported.
ALONE = """
import sys
sys.modules["onnx2mvit"] = None
import keras, keras_hub, numpy
folder, photos, wanted = sys.argv[1:]
photos, wanted = numpy.load(photos), numpy.load(wanted)
task = keras_hub.models.ImageClassifier.from_preset(folder)
answers = task.predict(photos, verbose=0)
numpy.testing.assert_allclose(answers, wanted, rtol=1e-4, atol=1e-4)
other = keras_hub.models.ImageClassifier.from_preset(folder, num_classes=7)
assert other.predict(photos, verbose=0).shape == (len(photos), 7)
assert all((a == b).all() for a, b in
           zip(other.backbone.get_weights(), task.backbone.get_weights(), strict=True))
print(keras.backend.backend())
"""


def deployed(folder: Path, head: str) -> tuple[onnx2mvit.Conversion, Deployment]:
    weights = {"u": (4, 4), "a": (4,), "v": (CLASSES, 4), "d": (CLASSES,)}
    used: dict[str, Any] = {
        name: shape for name, shape in weights.items() if f" {name}" in HEADS[head]
    }
    made = model(BODY.replace("HEAD", HEADS[head]), opset=17, w=(4, 3, 3, 3), b=(4,), **used)
    file = save(made, folder, "net.onnx")
    converted = onnx2mvit.convert(file, folder, verify=False, preprocessing=HOW)
    preset = onnx2mvit.deploy(
        converted.folder, folder / "deployed", format="keras_hub", inputs=2, onnx=file
    )
    return converted, preset


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx2mvit.Conversion, Deployment]:
    return deployed(tmp_path_factory.mktemp("preset"), "logits")


def alone(made: tuple[onnx2mvit.Conversion, Deployment], folder: Path, backend: str) -> str:
    """What KerasHub says in a process of its own, of photographs in the size of the network."""
    converted, preset = made
    photos = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    how = converted.report["preprocessing"]
    pixels = onnx2mvit.preprocess(list(photos), preprocessing=how)
    np.save(folder / "photos.npy", photos.astype(np.float32))
    np.save(folder / "wanted.npy", converted.model.predict(pixels, verbose=0))
    arguments = [str(preset.file), str(folder / "photos.npy"), str(folder / "wanted.npy")]
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "KERAS_BACKEND": backend},
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.split()[-1]


def test_kerashub_alone_answers_as_the_model_and_makes_a_fresh_head(
    plain: tuple[onnx2mvit.Conversion, Deployment], tmp_path: Path
) -> None:
    assert alone(plain, tmp_path, "tensorflow") == "tensorflow"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_the_other_backends(
    plain: tuple[onnx2mvit.Conversion, Deployment], tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    assert alone(plain, tmp_path, backend) == backend


def test_the_preset_says_what_it_is_for(
    plain: tuple[onnx2mvit.Conversion, Deployment],
) -> None:
    _, preset = plain
    assert preset.passed and preset.comparison.max_rel_error < 1e-5
    about = json.loads((preset.file / "metadata.json").read_text(encoding="utf-8"))
    assert about["tasks"] == ["ImageClassifier"]


@pytest.mark.parametrize("head", ["softmax", "hidden"])
def test_other_heads(tmp_path: Path, head: str) -> None:
    _, preset = deployed(tmp_path, head)
    assert preset.passed
    task = json.loads((preset.file / "task.json").read_text(encoding="utf-8"))
    assert task["config"]["activation"] == ("softmax" if head == "softmax" else None)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    nodes = "c = Conv<pads=[1,1,1,1]>(x, w)  y = Relu(c)"
    text = f"g (float[N,3,16,16] x) => (float[N,4,16,16] y) {{ {nodes} }}"
    file = save(model(text, opset=17, w=(4, 3, 3, 3)), tmp_path, "net.onnx")
    converted = onnx2mvit.convert(file, tmp_path, verify=False)
    with pytest.raises(UnsupportedError, match="ends in one linear layer"):
        onnx2mvit.deploy(converted.folder, tmp_path / "d", format="keras_hub", inputs=1)
