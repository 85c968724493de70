"""LiteRT files carry the metadata that MediaPipe reads: its classifier runs them as they are."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.deployment import Deployment
from tests.support.graphs import model, save

for package in ("ai_edge_litert", "tf2onnx"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")

SIZE, CLASSES = 32, 10
TEXT = f"""g (float[N,3,{SIZE},{SIZE}] pixels) => (float[N,{CLASSES}] scores) {{
    c = Conv<pads=[1,1,1,1]>(pixels, w, b)  r = Relu(c)
    p = GlobalAveragePool(r)  f = Flatten<axis=1>(p)  scores = Gemm<transB=1>(f, v, d)
}}"""
HOW = {"scale": 1, "mean": 127, "std": 128}
NAMES = [f"kind {number}" for number in range(CLASSES)]
SCHEMA = "mediapipe.tasks.metadata.metadata_schema_py_generated"
WITHOUT = "mediapipe is not installed: pip install 'onnx2mvit[metadata]'"


def deployed(folder: Path, **how: object) -> Deployment:
    made = model(TEXT, opset=17, w=(4, 3, 3, 3), b=(4,), v=(CLASSES, 4), d=(CLASSES,))
    file, labels = save(made, folder, "net.onnx"), folder / "names.txt"
    labels.write_text("\n".join(NAMES), encoding="utf-8")
    converted = onnx2mvit.convert(file, folder, verify=False, preprocessing=HOW | how)
    return onnx2mvit.deploy(converted.folder, folder / "deployed", labels=labels, inputs=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    pytest.importorskip("mediapipe", reason=WITHOUT)
    return deployed(tmp_path_factory.mktemp("metadata"))


def test_mediapipe_classifies_with_the_file(file: Deployment) -> None:
    import keras
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    net = keras.saving.load_model(file.folder.parent.parent / "net" / "net.keras")
    pixels = onnx2mvit.preprocess(photo, preprocessing=HOW | {"size": SIZE})
    (expected,) = net.predict(pixels, verbose=0)
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(file.file)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
        (found,) = classifier.classify(image).classifications
    best = np.argsort(-expected)
    assert [category.index for category in found.categories] == best.tolist()
    assert [category.category_name for category in found.categories] == [NAMES[i] for i in best]
    scores = [category.score for category in found.categories]
    np.testing.assert_allclose(scores, expected[best], rtol=1e-4, atol=1e-4)


def test_what_the_reader_of_the_package_finds(file: Deployment) -> None:
    from ai_edge_litert.tools import flatbuffer_utils
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    content = file.file.read_bytes()
    made = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    (entry,) = (each for each in made.metadata if each.name == b"TFLITE_METADATA")
    root = schema.ModelMetadata.GetRootAs(bytes(made.buffers[entry.buffer].data))
    (graph,) = schema.ModelMetadataT.InitFromObj(root).subgraphMetadata
    (image,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    options = image.processUnits[0].options
    assert (*options.mean, *options.std) == (127, 128)
    assert scores.associatedFiles[0].name == b"labels.txt"
    with zipfile.ZipFile(file.file) as archive:
        assert archive.read("labels.txt").decode().splitlines() == NAMES
    assert file.passed and not any("MediaPipe" in note for note in file.report["notes"])


def test_there_is_no_word_for_bgr(tmp_path: Path) -> None:
    made = deployed(tmp_path, channels="bgr")
    assert any("no word for BGR" in note for note in made.report["notes"])
    assert b"TFLITE_METADATA" not in made.file.read_bytes()


def test_one_mean_for_each_channel_is_in_the_file_and_mediapipe_refuses_it(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason=WITHOUT)
    from mediapipe.tasks.python import vision

    made = deployed(tmp_path, mean=[124, 116, 104])
    assert any("one mean for all channels" in note for note in made.report["notes"])
    with pytest.raises(NotImplementedError, match="Per-channel image normalization"):
        vision.ImageClassifier.create_from_model_path(str(made.file))


def test_without_the_package_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, SCHEMA, None)
    made = deployed(tmp_path)
    assert any("pip install 'onnx2mvit[metadata]'" in note for note in made.report["notes"])
    assert made.passed and not zipfile.is_zipfile(made.file)
