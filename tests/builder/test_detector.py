"""Non-max suppression on a detector's boxes, against onnxruntime's; other kinds of detectors."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

import onnx2mvit
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.lifter.detection import Detections
from onnx2mvit.runtimes.boxes import found_in

PLACES, CLASSES, KEPT = 60, 4, 12
SCORE, IOU = 0.3, 0.4


def boxes_and_scores(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """So many that overlap; the classes are not told apart by their boxes."""
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0.2, 0.8, (2, PLACES, 2)), rng.uniform(0.1, 0.5, (2, PLACES, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
    return boxes.astype("float32"), rng.uniform(size=(2, PLACES, CLASSES)).astype("float32")


SSD = BoxFormat(corners=True)
RETINANET = BoxFormat(corners=True, background=None)
DETR = BoxFormat(corners=False, background=-1, overlapping=False)


def detector_of(
    how: BoxFormat = SSD, activation: str | None = None, classes: int = CLASSES, **options: Any
) -> keras.Model:
    """A model that gives what it gets, with the suppression behind it."""
    scores, boxes = keras.Input((PLACES, classes)), keras.Input((PLACES, 4))
    outputs = [
        keras.layers.Identity(name="class_scores")(scores),
        keras.layers.Identity(name="where")(boxes),
    ]
    report = {
        "outputs": [
            {"name": "scores", "keras_name": "class_scores"},
            {"name": "boxes", "keras_name": "where"},
        ],
        "detections": Detections("boxes", "scores", how, activation).as_dict(),
    }
    return onnx2mvit.detector(keras.Model([scores, boxes], outputs), report, **options)


def by_onnxruntime(boxes: Any, scores: Any) -> list[list[tuple[int, float, int]]]:
    """For each image the class, score and place of boxes that stay, the best first."""
    inputs = [
        onnx.helper.make_tensor_value_info("boxes", 1, boxes.shape),
        onnx.helper.make_tensor_value_info("scores", 1, scores.shape),
    ]
    limits = {"most": np.array([PLACES]), "iou": np.array([IOU], "float32")}
    limits["score"] = np.array([SCORE], "float32")
    names = [*limits]
    tensors = [onnx.numpy_helper.from_array(np.array(each), name) for name, each in limits.items()]
    node = onnx.helper.make_node("NonMaxSuppression", ["boxes", "scores", *names], ["y"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, ["n", 3])
    graph = onnx.helper.make_graph([node], "g", inputs, [output], tensors)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    made.ir_version = 10
    session = onnxruntime.InferenceSession(made.SerializeToString())
    (chosen,) = session.run(None, {"boxes": boxes, "scores": scores})
    found: list[list[tuple[int, float, int]]] = [[] for _ in boxes]
    for image, label, place in chosen:
        found[image].append((int(label), float(scores[image, label, place]), int(place)))
    return [sorted(each, key=lambda box: -box[1]) for each in found]


@pytest.mark.parametrize("background", [True, False])
def test_what_stays_is_what_onnxruntime_keeps(background: bool) -> None:
    boxes, scores = boxes_and_scores(0)
    first = int(background)
    expected = by_onnxruntime(boxes, scores[..., first:].transpose(0, 2, 1).copy())
    assert all(len(each) > KEPT for each in expected)
    limits: dict[str, Any] = {"score_threshold": SCORE, "iou_threshold": IOU, "max_boxes": KEPT}
    model = detector_of(SSD if background else RETINANET, **limits)
    found = {name: np.asarray(each) for name, each in model([scores, boxes]).items()}
    assert found["labels"].shape == (2, KEPT)
    for image, wanted in enumerate(expected):
        labels, values, places = zip(*wanted[:KEPT], strict=True)
        assert found["labels"][image].tolist() == [label + first for label in labels]
        assert np.array_equal(found["scores"][image], np.array(values, np.float32))
        assert np.array_equal(found["boxes"][image], boxes[image, list(places)])


def test_places_that_are_left_over_are_empty() -> None:
    boxes, scores = boxes_and_scores(1)
    scores[0] = 0.1
    model = detector_of(score_threshold=0.97, max_boxes=20)
    found = {name: np.asarray(each) for name, each in model([scores, boxes]).items()}
    assert (found["labels"][0] == -1).all()
    assert not found["scores"][0].any()
    assert not found["boxes"][0].any()
    count = int((found["labels"][1] >= 0).sum())
    assert 0 < count < 20
    assert (found["labels"][1, count:] == -1).all()


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    boxes, scores = boxes_and_scores(2)
    model = detector_of(score_threshold=SCORE, max_boxes=5)
    model.save(tmp_path / "detector.keras")
    loaded = keras.models.load_model(tmp_path / "detector.keras")
    for name, expected in model([scores, boxes]).items():
        assert np.array_equal(np.asarray(loaded([scores, boxes])[name]), np.asarray(expected))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"iou_threshold": 1.5}, "iou_threshold is from 0 to 1, not 1.5"),
        ({"score_threshold": -0.1}, "score_threshold is from 0 to 1, not -0.1"),
        ({"max_boxes": 0}, "are at least 1"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        detector_of(**options)


@pytest.mark.parametrize(
    ("how", "activation"),
    [
        pytest.param(SSD, "softmax", id="logits of classes, the first of them none"),
        pytest.param(RETINANET, "sigmoid", id="logits of classes by themselves"),
        pytest.param(DETR, "softmax", id="DETR: centres and sizes, one box a thing"),
        pytest.param(DETR, None, id="probabilities"),
    ],
)
def test_what_is_found_is_what_the_report_shows(how: BoxFormat, activation: str | None) -> None:
    """The proof counts boxes by a function of its own, on arrays."""
    rng = np.random.default_rng(3)
    boxes, scores = boxes_and_scores(3)
    if activation is not None:
        scores = rng.normal(scale=3, size=scores.shape).astype("float32")
    model = detector_of(how, activation, max_boxes=100)
    found = {name: np.asarray(each) for name, each in model([scores, boxes]).items()}
    for image in range(len(boxes)):
        known = Detections("boxes", "scores", how, activation)
        wanted = found_in(boxes[image], scores[image], known, (1, 1))
        there = found["labels"][image] >= 0
        assert 20 < there.sum() == len(wanted.labels)
        assert found["labels"][image][there].tolist() == wanted.labels.tolist()
        assert np.allclose(found["scores"][image][there], wanted.scores, atol=1e-5)
        assert np.allclose(found["boxes"][image][there], wanted.boxes, atol=1e-6)


def test_without_a_block_that_gives_boxes_there_is_no_detector() -> None:
    x = keras.Input((PLACES, 4))
    model = keras.Model(x, keras.layers.Identity(name="boxes")(x), name="m")
    with pytest.raises(UsageError, match="m: its report names no outputs that are boxes"):
        onnx2mvit.detector(model, {"detections": None})
    known = Detections("boxes", "scores", SSD, None).as_dict()
    outputs = [{"name": "boxes", "keras_name": "boxes"}, {"name": "scores", "keras_name": "s"}]
    with pytest.raises(UsageError, match="m has no output 's', as its report says"):
        onnx2mvit.detector(model, {"detections": known, "outputs": outputs})
