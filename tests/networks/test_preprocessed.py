"""What photographs must become goes with the network: into module, report, proof and files."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder import build
from onnx2mvit.conversion import Conversion
from onnx2mvit.deployment.interface import describe_model
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.reports import how_read
from onnx2mvit.runtimes import some_inputs
from tests.support.command_line import Run
from tests.support.graphs import model, save

Image = pytest.importorskip("PIL.Image")

TEXT = """g (float[N,3,16,12] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w)  r = Relu(a)  m = ReduceMean<axes=[2,3], keepdims=0>(r)
    y = Gemm<transB=1>(m, d, b)
}"""
HOW = {"crop": 0.8, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "channels": "bgr"}


def network(folder: Path) -> Path:
    made = model(TEXT, opset=17, w=(4, 3, 3, 3), d=(5, 4), b=(5,))
    return save(made, folder, "net.onnx")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    folder = tmp_path_factory.mktemp("preprocessed")
    return onnx2mvit.convert(network(folder), folder / "out", inputs=2, preprocessing=HOW)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number, (height, width) in enumerate([(40, 30), (25, 60), (16, 12)]):
        picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


@pytest.mark.xdist_group("preprocessed")
@pytest.mark.parametrize("nested", [True, False])
def test_layers_make_of_bytes_what_the_network_takes(
    converted: Conversion, photographs: Path, nested: bool
) -> None:
    how = converted.report["preprocessing"]
    files = sorted(photographs.iterdir())
    plain = build(converted.folder, "net")
    whole = build(converted.folder, "net", preprocessing="layers", nested=nested)
    bare = {"scale": 1.0, "mean": 0.0, "std": 1.0, "channels": "rgb"}
    pixels = onnx2mvit.preprocess(files, preprocessing=how | bare)
    assert pixels.max() > 200 and pixels.shape == (3, 16, 12, 3)
    wanted = plain.predict(onnx2mvit.preprocess(files, preprocessing=how), verbose=0)
    assert np.abs(whole.predict(pixels, verbose=0) - wanted).max() < 1e-5 * np.abs(wanted).max()
    path = converted.folder / "whole.keras"
    whole.save(path)  # of stock layers alone
    assert np.allclose(keras.saving.load_model(path).predict(pixels, verbose=0), wanted, atol=1e-5)
    with pytest.raises(UnsupportedError, match="preprocessing is 'none' or 'layers'"):
        build(converted.folder, "net", preprocessing="both")


@pytest.mark.xdist_group("preprocessed")
def test_module_and_report_say_the_same(converted: Conversion) -> None:
    source = converted.source.read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    start = source.index("PREPROCESSING = ")
    exec(source[start : source.index("}", start) + 1], scope)
    report = json.loads((converted.folder / "report.json").read_text(encoding="utf-8"))
    assert scope["PREPROCESSING"] == report["preprocessing"]
    assert report["preprocessing"] == {
        **HOW, "size": [16, 12], "interpolation": "bilinear", "scale": 1 / 255, "origin": "the user"
    }  # fmt: skip
    page = (converted.folder / "report.html").read_text(encoding="utf-8")
    assert "BGR in [0, 1], minus (0.4, 0.5, 0.6), over (0.2, 0.25, 0.3)" in page


@pytest.mark.xdist_group("preprocessed")
@pytest.mark.parametrize(("wanted", "size"), [((24, 20), [24, 20]), ("any", [16, 12])])
def test_module_and_report_say_the_same_of_another_size(
    tmp_path: Path, wanted: ImageSize, size: list[int]
) -> None:
    made = onnx2mvit.convert(
        network(tmp_path), tmp_path, verify=False, preprocessing=HOW, image_size=wanted
    )
    assert made.report["preprocessing"]["size"] == size
    assert f"'size': {size}" in made.source.read_text(encoding="utf-8").replace('"', "'")


@pytest.mark.xdist_group("preprocessed")
def test_proof_and_deployed_files_see_the_same_photographs(
    converted: Conversion, photographs: Path
) -> None:
    file = converted.folder.parent.parent / "net.onnx"
    wanted = onnx2mvit.preprocess(
        sorted(photographs.iterdir()), preprocessing=converted.report["preprocessing"]
    )
    again = onnx2mvit.inspect(file, **how_read(converted.folder, file))
    given, what = some_inputs(again, photographs, 1)
    assert what.startswith("3 images from ")
    assert np.allclose(given["x"].transpose(0, 2, 3, 1), wanted)
    interface = describe_model(converted.model, None, None, converted.report)
    given, _ = interface.some_inputs(photographs, 1, 0, 8)
    assert np.allclose(given["x"], wanted)
    assert onnx2mvit.verify(file, converted.folder, images=photographs).passed


def test_where_nothing_is_known_it_is_said_once(run: Run, tmp_path: Path) -> None:
    ran = run("convert", network(tmp_path), "-o", tmp_path / "out", "--inputs", 2)
    assert ran.code == 0 and ran.out.count("is an assumption") == 1
    assert "PREPROCESSING" not in (tmp_path / "out" / "net" / "net.py").read_text("utf-8")


def test_options_of_the_command_line(run: Run, tmp_path: Path) -> None:
    file, out = network(tmp_path), tmp_path / "out"
    options = (
        "--mean",
        "0.5",
        "--std",
        "1/4",
        "--bgr",
        "--crop",
        0.9,
        "--interpolation",
        "lanczos",
    )
    ran = run("convert", file, "-o", out, "--no-verify", *options)
    told = " ".join(ran.out.split())
    assert ran.code == 0, ran.err
    assert "BGR in [0, 1], minus (0.5), over (0.25), the centre 90.0%" in told
    assert "lanczos; from the user" in told
    ran = run("convert", file, "-o", out, "--std", "0")
    assert ran.code == 2 and "must not be 0" in ran.err
    ran = run("convert", file, "-o", out, "--preprocessing", tmp_path / "nothing.json")
    assert ran.code == 2 and "nothing.json does not exist" in ran.err


def test_integers_are_bytes_as_they_are(tmp_path: Path, photographs: Path) -> None:
    text = TEXT.replace("float[N,3,16,12] x", "uint8[N,3,16,12] image").replace(
        "a = Conv", "x = Cast<to=1>(image)  a = Conv"
    )
    made = model(text, opset=17, w=(4, 3, 3, 3), d=(5, 4), b=(5,))
    file = save(made, tmp_path, "bytes.onnx")
    known = onnx2mvit.inspect(file, preprocessing=HOW)
    given, _ = some_inputs(known, photographs, 1)
    bare = {**HOW, "size": (16, 12), "scale": 1.0, "mean": 0.0, "std": 1.0}
    wanted = onnx2mvit.preprocess(sorted(photographs.iterdir()), preprocessing=bare)
    assert given["image"].dtype == np.uint8
    assert np.array_equal(given["image"].transpose(0, 2, 3, 1), wanted)
