"""`onnx2mvit evaluate`: accuracies that are known, in each form of a network, by either engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx2mvit
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.evaluation.targets import shortest_names
from tests.evaluation.conftest import EACH
from tests.support.command_line import Run
from tests.support.graphs import model, save

pytest.importorskip("PIL")
from tests.support.photographs import NAMES, colour_network, folder_of_classes

pytestmark = pytest.mark.xdist_group("evaluate")


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Without what the clock says."""
    kept = {key: value for key, value in report.items() if "second" not in key and key != "engine"}
    kept["targets"] = [
        {key: value for key, value in each.items() if key != "images_per_second"}
        for each in report["targets"]
    ]
    return kept


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_an_openvino_file_is_one_of_the_forms(
    network: Path, converted: Path, photos: Path, tmp_path: Path, data_format: str
) -> None:
    pytest.importorskip("openvino")
    made = onnx2mvit.deploy(
        converted, tmp_path, format="openvino", data_format=data_format, onnx=network, inputs=1
    )
    result = onnx2mvit.evaluate([network, made.file], photos, workers=0, output=tmp_path / "out")
    first, second = result.report["targets"]
    assert second["runtime"] == "OpenVINO"
    assert second["agreement"] == 1
    assert second["preprocessing"] == first["preprocessing"]


def test_every_form_of_a_network_is_counted_and_the_report_gets_a_section(
    network: Path, converted: Path, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    litert = onnx2mvit.deploy(converted, tmp_path, inputs=1).file
    result = onnx2mvit.evaluate([network, converted, litert], photos, batch=5, workers=0)
    report = result.report
    assert [each["runtime"] for each in report["targets"]] == ["onnxruntime", "Keras", "LiteRT"]
    for each in report["targets"]:
        assert each["top1"] == 7 / 8  # yellow ones are white
        assert each["top5"] == 1  # of the six next corners, one is as far as another
        assert each["images_per_second"] > 0
    assert [each["agreement"] for each in report["targets"]] == [None, 1, 1]
    assert report["differing"]["count"] == 0 and report["wrong"]["count"] == EACH
    assert {each["image"] for each in report["wrong"]["images"]} == {
        f"6_yellow/{number}.jpg" for number in range(EACH)
    }
    assert result.pages == (converted / "report.html",)
    assert json.loads((converted / "report.json").read_text())["evaluation"] == report
    page = result.pages[0].read_text()
    assert "On photographs" in page and page.count("data:image/jpeg") == EACH
    assert not list(converted.glob("evaluation*"))


def test_a_file_of_open_size_sees_what_the_others_see(photos: Path, tmp_path: Path) -> None:
    file = save(colour_network("S"), tmp_path, "open.onnx")
    folder = onnx2mvit.convert(file, tmp_path, verify=False, image_size=(40, 40)).folder
    for targets, how in (([file, folder], None), ([file], {"size": [40, 40]})):
        report = onnx2mvit.evaluate(
            targets, photos, workers=0, preprocessing=how, output=tmp_path
        ).report
        assert [each["size"] for each in report["targets"]] == [[40, 40]] * len(targets)


def test_a_network_for_one_image_that_gives_a_number_as_well(photos: Path, tmp_path: Path) -> None:
    made = colour_network()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    made.graph.node.append(onnx.helper.make_node("ReduceMean", ["y"], ["mean"], keepdims=0))
    mean = onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [])
    made.graph.output.insert(0, mean)
    file = save(made, tmp_path, "one.onnx")
    folder = onnx2mvit.convert(file, tmp_path, verify=False).folder
    report = onnx2mvit.evaluate([file, folder], photos, workers=0, output=tmp_path).report
    assert [each["top1"] for each in report["targets"]] == [7 / 8, 7 / 8]


def test_networks_that_differ_are_told_apart_image_by_image(
    network: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    other = colour_network()
    weights = onnx.numpy_helper.to_array(other.graph.initializer[3]).copy()
    weights[NAMES.index("green")] = 9  # is never second to another
    other.graph.initializer[3].CopyFrom(onnx.numpy_helper.from_array(weights, "v"))
    file = save(other, tmp_path, "green.onnx")
    ran = run("evaluate", network, file, "--data", photos, "--workers", 0, "-o", tmp_path, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    wrong = EACH * (len(NAMES) - 1)
    assert report["targets"][1]["top1"] == 1 / 8
    assert report["targets"][1]["differ"] == report["differing"]["count"] == wrong
    first = report["differing"]["images"][0]
    assert first == {
        "image": "0_black/0.jpg",
        "class": "0_black",
        "answers": ["0_black", "2_green"],
    }
    page = (tmp_path / "evaluation.html").read_text()
    assert "0_black <small>colours.onnx<" in page and "2_green <small>green.onnx<" in page
    assert json.loads((tmp_path / "evaluation.json").read_text()) == report


def test_pixels_are_those_that_the_network_wants(
    network: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    command = ("evaluate", network, "--data", photos, "--workers", 0, "-o", tmp_path)
    ran = run(*command)
    assert "87.50%" in ran.out and "an assumption" in ran.err
    turned = run(*command, "--bgr", "--json")
    assert turned.code == 0 and "an assumption" not in turned.err
    # Red is taken for blue, and yellow, which is white here, for white; the rest is its own mirror.
    right = {"black", "green", "magenta", "white"}
    assert json.loads(turned.out)["targets"][0]["top1"] == len(right) / 8
    read = onnx.load(network)
    onnx.helper.set_model_props(read, {"onnx2mvit.preprocessing": json.dumps({"channels": "bgr"})})
    onnx.save(read, tmp_path / "bgr.onnx")
    told = onnx2mvit.evaluate([tmp_path / "bgr.onnx"], photos, output=tmp_path, workers=0).report
    assert told["targets"][0]["top1"] == len(right) / 8
    assert told["targets"][0]["preprocessing"]["origin"] == "the ONNX file"


def test_damaged_images_are_counted_named_and_left_out(
    network: Path, tmp_path: Path, run: Run
) -> None:
    photos = folder_of_classes(tmp_path / "photos", 1)
    whole = (photos / "4_red" / "0.jpg").read_bytes()
    (photos / "4_red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "4_red" / "text.png").write_text("no picture")
    ran = run("evaluate", network, "--data", photos, "--workers", 0, "-o", tmp_path, "--json")
    report = json.loads(ran.out)
    assert report["images"] == len(NAMES) and report["targets"][0]["top1"] == 7 / 8
    assert report["damaged"]["count"] == 2
    assert [each["image"] for each in report["damaged"]["images"]] == [
        "4_red/cut.jpg",
        "4_red/text.png",
    ]
    assert "warning: 2 images could not be read" in ran.err
    assert str(photos) not in ran.out
    for path in photos.rglob("0.jpg"):
        path.write_text("")
    ran = run("evaluate", network, "--data", photos, "--workers", 0, "-o", tmp_path)
    assert ran.code == 2 and "none of the images can be read; 0_black/0.jpg: " in ran.err


@pytest.mark.parametrize(
    ("text", "weights", "says"),
    [
        (
            "g (float[N,3,32,32] x) => (float[N,4,32,32] y) { y = Conv(x, w, b) }",
            {"w": (4, 3, 1, 1), "b": (4,)},
            r"net.onnx is no classifier: it gives \[.*, 32, 32, 4\], not a score of each class",
        ),
        (
            "g (float[N,8] x) => (float[N,4] y) { y = Gemm(x, w, b) }",
            {"w": (8, 4), "b": (4,)},
            "net.onnx is no classifier: it does not take one image alone",
        ),
    ],
)
def test_what_is_no_classifier_is_refused(
    tmp_path: Path, photos: Path, text: str, weights: dict[str, Any], says: str
) -> None:
    file = save(model(text, **weights), tmp_path, "net.onnx")
    with pytest.raises(UnsupportedError, match=says):
        onnx2mvit.evaluate([file], photos, output=tmp_path, workers=0)


def test_arguments_that_make_no_sense_are_one_line(
    network: Path, converted: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "x.tflite").write_text("no flatbuffer")
    ten = save(
        model(
            """g (float[N,3,32,32] x) => (float[N,10] y) {
            c = Conv(x, w, b)  p = GlobalAveragePool(c)  y = Flatten(p) }""",
            w=(10, 3, 1, 1),
            b=(10,),
        ),
        tmp_path,
        "ten.onnx",
    )
    for targets, options, code, says in (
        ([network, network], (), 2, "given twice"),
        ([network, ten], (), 2, "colours.onnx has 8 classes, ten.onnx 10"),
        ([ten], (), 2, "8 class folders, the network 10: give --labels"),
        ([tmp_path / "x.tflite"], (), 3, "x.tflite cannot be read as a LiteRT file"),
        ([tmp_path], (), 3, "is not a folder that `onnx2mvit convert` wrote"),
        ([network], ("--mean", "1,2"), 2, "mean is one number, or three"),
    ):
        ran = run("evaluate", *targets, "--data", photos, "-q", *options)
        assert (ran.code, ran.out) == (code, ""), ran
        assert says in ran.err and ran.err.count("\n") == 1
    with pytest.raises(UsageError, match="engine 'spark': choose from local, ray"):
        onnx2mvit.evaluate([network], photos, engine="spark")


def test_names_are_as_long_as_need_be() -> None:
    paths = [Path("a/x.tflite"), Path("b/x.tflite"), Path("a/y.onnx")]
    assert shortest_names(paths) == ["a/x.tflite", "b/x.tflite", "y.onnx"]


def test_equal_scores_are_in_the_order_of_classes() -> None:
    from onnx2mvit.evaluation.tally import best

    assert best(np.array([[1, 3, 3, 0, 3, 2, 1]])) == [[1, 2, 4, 5, 0]]
