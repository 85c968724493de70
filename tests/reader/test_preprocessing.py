"""Preprocessing is read from every configuration, as their own libraries read it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import preprocess
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.preprocessing import ASSUMED, BYTE, Preprocessing, from_dict
from onnx2mvit.reader import read
from onnx2mvit.reader.preprocessing import METADATA, chosen, read_preprocessing
from tests.support.graphs import model, save

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# By the image processor of transformers, with what its published networks say.
PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("MobileViT", {"size": {"shortest_edge": 288}, "resample": 2, "do_normalize": False}),
    ("MobileViT", {"size": {"shortest_edge": 544}, "crop_size": {"height": 512, "width": 512},
                   "resample": 2, "do_normalize": False, "do_flip_channel_order": False}),
    ("MobileNetV2", {}),
    ("ConvNext", {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_mean": MEAN,
                  "image_std": STD}),
    ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 0.875}),
    ("ViT", {}),
    ("Levit", {"size": {"shortest_edge": 256}}),
    ("EfficientNet", {"size": {"height": 224, "width": 224}, "resample": 0,
                      "image_std": [0.47853944, 0.4732864, 0.47434163]}),
    ("EfficientNet", {"rescale_factor": 1 / 127.5, "rescale_offset": True,
                      "do_normalize": False}),
    ("Segformer", {}),
]  # fmt: skip


def written(folder: Path, given: object, name: str = "preprocessor_config.json") -> Path:
    path = folder / name
    path.write_text(given if isinstance(given, str) else json.dumps(given), encoding="utf-8")
    return path


@pytest.mark.parametrize(("processor", "options"), PROCESSORS)
def test_pixels_are_those_of_the_processor_that_wrote_the_file(
    tmp_path: Path, processor: str, options: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = getattr(transformers, f"{processor}ImageProcessorPil")(**options)
    theirs.save_pretrained(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (333, 500, 3)).astype(np.uint8)
    (wanted,) = theirs([picture], return_tensors="np")["pixel_values"]
    how = read_preprocessing(tmp_path)
    (ours,) = preprocess(picture, preprocessing=how)
    assert how.origin == "preprocessor_config.json"
    assert ours.shape == wanted.transpose(1, 2, 0).shape
    assert np.abs(ours - wanted.transpose(1, 2, 0)).max() < 1e-5


TIMM = {"input_size": [3, 256, 224], "mean": MEAN, "std": STD, "crop_pct": 0.9,
        "interpolation": "bicubic"}  # fmt: skip
CVNETS = """
image_augmentation:
  random_resized_crop: {enable: true, interpolation: bicubic}
  resize: {enable: true, size: 288, interpolation: bilinear}
  center_crop: {enable: true, size: 256}
  to_tensor:
    mean_std_normalization: {enable: true, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("config.json", {"architecture": "fastvit_t8", "pretrained_cfg": TIMM},
         Preprocessing((256, 224), 0.9, "bicubic", BYTE, tuple(MEAN), tuple(STD))),
        ("config.json", TIMM | {"crop_mode": "squash"},
         Preprocessing((256, 224), None, "bicubic", BYTE, tuple(MEAN), tuple(STD))),
        ("mobilevit.yaml", CVNETS,
         Preprocessing((256, 256), 256 / 288, mean=(0.5,) * 3, std=(0.25,) * 3)),
        ("flat.yaml", "image_augmentation.resize.enable: true\n"
         "image_augmentation.resize.size: [512, 256]\n", Preprocessing((512, 256), None)),
        ("own.json", {"size": 224, "scale": 1, "mean": 127, "std": 128, "channels": "bgr"},
         Preprocessing((224, 224), 1.0, "bilinear", 1, (127.0,), (128.0,), "bgr")),
    ],
)  # fmt: skip
def test_configurations_of_timm_of_ml_cvnets_and_of_our_own(
    tmp_path: Path, name: str, text: object, wanted: Preprocessing
) -> None:
    found = read_preprocessing(written(tmp_path, text, name))
    assert found == wanted.changed(origin=name)
    assert from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as a configuration"),
        ("[1]", "no configuration"),
        ({"model_type": "mobilevit"}, "says nothing of preprocessing"),
        ({"scale": 0}, "must not be 0"),
        ({"scale": "x"}, "finite numbers"),
        ({"mean": [1, 2]}, "one number, or three"),
        ({"mean": "abc"}, "one number, or three"),
        ({"crop": 1.5}, "a share from 0 to 1"),
        ({"size": -3}, "is \\(height, width\\)"),
        ({"channels": "xyz"}, "rgb or bgr"),
        ({"interpolation": "magic"}, "is none of nearest"),
        ({"do_resize": True, "do_normalize": True}, "cannot be read"),
        ({"do_resize": True, "size": {"shortest_edge": 0}, "crop_pct": 1}, "size is"),
        ({"pretrained_cfg": {"crop_pct": 0.9, "mean": "abc"}}, "one number, or three"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path: Path, text: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read_preprocessing(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_options_go_before_a_configuration_and_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, {"size": 224, "channels": "bgr", "mean": 0.5})
    found = chosen(path, mean="1/2, 1/4, 0.1", crop=None, channels="rgb")
    assert isinstance(found, Preprocessing)
    assert (found.mean, found.channels, found.size) == ((0.5, 0.25, 0.1), "rgb", (224, 224))
    assert chosen(None, mean=None) is None
    with pytest.raises(UsageError, match="--std 1/0: a number"):
        chosen(None, std="1/0")
    made = model(CONV, w=(4, 3, 1, 1))
    entry = made.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps({"channels": "bgr", "crop": 0.5})
    file = save(made, tmp_path)
    own = read(file).source.preprocessing
    assert (own.channels, own.crop, own.origin) == ("bgr", 0.5, "the ONNX file")
    changed = read(file, preprocessing={"crop": 0.75}).source.preprocessing
    assert (changed.channels, changed.crop, changed.origin) == ("bgr", 0.75, "the user")


CONV = "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }"


@pytest.mark.parametrize("value", ["{", "[]", '{"scale": 0}', '{"unknown": 1}', "null"])
def test_damaged_metadata_are_as_if_they_were_not_there(tmp_path: Path, value: str) -> None:
    made = model(CONV, w=(4, 3, 1, 1))
    entry = made.metadata_props.add()
    entry.key, entry.value = METADATA, value
    assert read(save(made, tmp_path)).source.preprocessing == ASSUMED


def leading(folder: Path, lines: str, given: Any = None, **weights: Any) -> Preprocessing:
    """What is left to be done where a network begins with these nodes, from x to p."""
    text = f"g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {lines} y = Conv(p, w) }}"
    file = save(model(text, w=(4, 3, 1, 1), **weights), folder)
    return read(file, preprocessing=given).source.preprocessing


def channels(*numbers: float) -> np.ndarray:
    return np.array(numbers).reshape(3, 1, 1)


BYTES: dict[str, Any] = {
    "m": channels(123.675, 116.28, 103.53),
    "s": channels(58.395, 57.12, 57.375),
}
UNIT = {"m": channels(*MEAN), "s": channels(*STD)}
NORM = "a = Sub(x, m)  p = Div(a, s)"
IMAGENET = {"mean": MEAN, "std": STD, "crop": 0.875}


def test_what_the_network_does_itself_is_not_done_twice(tmp_path: Path) -> None:
    left = leading(tmp_path, NORM, IMAGENET, **BYTES)
    assert (left.scale, left.mean, left.std, left.crop) == (1.0, (0.0,), (1.0,), 0.875)
    assert left.origin == "the user, without what the network does itself"
    left = leading(tmp_path, NORM, IMAGENET, **UNIT)
    assert (left.scale, left.mean, left.std) == (BYTE, (0.0,), (1.0,))
    factor = {"m": -BYTES["m"] / BYTES["s"], "s": 1 / BYTES["s"]}
    left = leading(tmp_path, "a = Mul(s, x)  p = Add(a, m)", IMAGENET, **factor)
    assert (left.scale, left.mean, left.std) == (1.0, (0.0,), (1.0,))


def test_a_network_that_normalizes_says_what_it_takes(tmp_path: Path) -> None:
    assert leading(tmp_path, NORM, **BYTES).scale == 1.0
    assert leading(tmp_path, NORM, **UNIT).scale == BYTE
    scaled = leading(tmp_path, "p = Div(x, s)", s=np.array(255.0))
    assert (scaled.scale, scaled.is_assumed) == (1.0, False)
    assert leading(tmp_path, NORM, **BYTES).origin == "the network's first operations"


@pytest.mark.parametrize(
    "lines", ["i = Constant<value_ints=[2,1,0]>()  t = Gather<axis=1>(x, i)",
              "b = Constant<value_ints=[-1]>()  e = Constant<value_ints=[-9]>() "
              "a1 = Constant<value_ints=[1]>()  t = Slice(x, b, e, a1, b)"],
)  # fmt: skip
def test_channels_that_the_network_turns_are_not_turned_before(tmp_path: Path, lines: str) -> None:
    body = f"{lines}  a = Sub(t, m)  p = Div(a, s)"
    turned = {key: array[::-1] for key, array in UNIT.items()}
    left = leading(tmp_path, body, {**IMAGENET, "channels": "bgr"}, **turned)
    assert (left.scale, left.mean, left.channels) == (BYTE, (0.0,), "rgb")
    left = leading(tmp_path, body, IMAGENET, **UNIT)  # RGB in the end, so BGR comes in
    assert (left.mean, left.channels) == ((0.0,), "bgr")


@pytest.mark.parametrize(
    "lines",
    [
        "p = Relu(x)",
        "a = Sub(m, x)  p = Div(a, s)",
        "a = Sub(x, m)  b = Div(a, s)  c = ReduceMean<keepdims=1>(x)  p = Add(b, c)",
    ],
)
def test_other_arithmetic_takes_nothing_away(tmp_path: Path, lines: str) -> None:
    given = {key: array for key, array in UNIT.items() if f" {key}" in lines or f"({key}" in lines}
    left = leading(tmp_path, lines, IMAGENET, **given)
    assert left.mean == tuple(MEAN) and left.origin == "the user"


def test_an_nhwc_file_is_read_alike(tmp_path: Path) -> None:
    text = """g (float[N,8,8,3] x) => (float[N,4,8,8] y) {
        t = Transpose<perm=[0,3,1,2]>(x)  a = Sub(t, m)  p = Div(a, s)  y = Conv(p, w)
    }"""
    file = save(model(text, w=(4, 3, 1, 1), **BYTES), tmp_path)
    assert read(file).source.preprocessing.scale == 1.0
