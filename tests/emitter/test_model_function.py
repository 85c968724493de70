"""The emitted function, in the manner of keras.applications: its head, its form, its weights."""

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import onnx2mvit
from onnx2mvit.builder.build import build, import_module
from onnx2mvit.builder.weights import variables_by_path
from onnx2mvit.errors import InvalidModelError, UnsupportedError, UsageError
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter.head import parse_head
from tests.support import torch_mobile, torch_mobilevit, torch_vit
from tests.support.networks import exported

pytestmark = pytest.mark.xdist_group("model-function")

LEGACY = Request("legacy", 17, False, True)
NETWORKS: dict[str, Callable[[], Any]] = {
    "mobilevit": lambda: torch_mobilevit.MobileViT(torch_mobilevit.Config(("hf",), size=(64, 64))),
    "mobilenet": lambda: torch_mobile.MobileNet(torch_mobile.Config(size=(64, 64))),
    "vit": lambda: torch_vit.ViT(torch_vit.Config(size=(32, 32))),
}
NAMES = list(NETWORKS)
SIDE = {"mobilevit": 64, "mobilenet": 64, "vit": 32}
Convert = Callable[..., onnx2mvit.Conversion]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def export(name: str) -> Path:
        folder, size = tmp_path_factory.mktemp(name), (SIDE[name], SIDE[name])
        file = exported(NETWORKS[name]().eval(), LEGACY, folder, size)
        return file.rename(folder / f"{name}.onnx")

    return export


@pytest.fixture(scope="module")
def converted(
    file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], onnx2mvit.Conversion]:
    @cache
    def convert(name: str) -> onnx2mvit.Conversion:
        result = onnx2mvit.convert(file(name), tmp_path_factory.mktemp("out"), inputs=2)
        assert result.passed
        return result

    return convert


def module_of(result: onnx2mvit.Conversion) -> ModuleType:
    return import_module(result.source)


def images(model: keras.Model, count: int = 2) -> Any:
    size = [length or 64 for length in model.input_shape[1:]]
    return np.random.default_rng(0).uniform(size=(count, *size)).astype(np.float32)


def answer(model: keras.Model, pixels: Any, **how: Any) -> Any:
    return keras.ops.convert_to_numpy(model(pixels, **how))


@pytest.mark.parametrize("name", NAMES)
def test_its_arguments_are_those_of_keras_applications(name: str, converted: Convert) -> None:
    result = converted(name)
    function = getattr(module_of(result), name)
    defaults = {key: p.default for key, p in inspect.signature(function).parameters.items()}
    classes = result.model.output_shape[-1]
    assert defaults == {
        "input_shape": (SIDE[name], SIDE[name], 3),
        "num_classes": classes,
        "include_top": True,
        "pooling": None,
        "classifier_activation": None,
        "dropout": 0.0,
        "nested": True,
        "weights": f"{name}.safetensors",
        "name": name,
    }
    described = inspect.getdoc(function) or ""
    assert all(f"\n    {argument}: " in described for argument in defaults)


@pytest.mark.parametrize("name", NAMES)
def test_the_function_alone_makes_the_whole_model(name: str, converted: Convert) -> None:
    result = converted(name)
    made = getattr(module_of(result), name)()
    pixels = images(made)
    assert (answer(made, pixels) == answer(result.model, pixels)).all()


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_other_classes_get_a_fresh_head_on_the_same_weights(
    name: str, nested: bool, converted: Convert
) -> None:
    result = converted(name)
    model = build(result.folder, num_classes=3, nested=nested)
    assert model.output_shape == (None, 3)

    def stored(one: keras.Model) -> dict[str, Any]:
        return {
            path.replace("/", "_").replace(".", "_"): keras.ops.convert_to_numpy(variable)
            for path, variable in variables_by_path(one)
        }

    ours, theirs = stored(model), stored(result.model)
    assert ours.keys() == theirs.keys()
    other = [key for key in ours if ours[key].shape != theirs[key].shape]
    assert other and all("classifier" in key or "head" in key for key in other)
    assert all((ours[key] == theirs[key]).all() for key in ours if key not in other)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_without_its_head_it_gives_what_the_head_reads(
    name: str, nested: bool, converted: Convert
) -> None:
    result = converted(name)
    whole = result.model
    whole_head = [layer for layer in whole.layers if "pool" in layer.name or name == "vit"][-1]
    pixels = images(whole)
    maps = answer(build(result.folder, include_top=False, nested=nested), pixels)
    if name == "vit":
        assert maps.ndim == 3
        return
    read = keras.Model(whole.input, whole_head.input)
    assert (maps == answer(read, pixels)).all()
    reductions: dict[str, Callable[..., Any]] = {"avg": np.mean, "max": np.max}
    for pooling, function in reductions.items():
        vector = build(result.folder, include_top=False, pooling=pooling, nested=nested)
        np.testing.assert_allclose(answer(vector, pixels), function(maps, (1, 2)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_flat_model_is_the_same_without_models_in_it(name: str, converted: Convert) -> None:
    result = converted(name)
    flat = build(result.folder, nested=False)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert flat.count_params() == result.model.count_params()
    pixels = images(flat)
    expected = answer(result.model, pixels)
    assert np.abs(answer(flat, pixels) - expected).max() <= 1e-6 * np.abs(expected).max()
    nested = [layer for layer in result.model.layers if isinstance(layer, keras.Model)]
    for block in nested:
        inside = flat.get_layer(block.name.replace(".", "_")).output
        assert inside.shape == block.output.shape


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_there_for_training_alone(name: str, nested: bool, converted: Convert) -> None:
    result = converted(name)
    model = build(result.folder, dropout=0.5, nested=nested)
    pixels = images(model)
    expected = answer(result.model, pixels)
    assert np.abs(answer(model, pixels) - expected).max() <= 1e-6 * np.abs(expected).max()
    dropped = [answer(model, pixels, training=True) for _ in range(2)]
    assert np.abs(dropped[0] - dropped[1]).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_its_answer_may_be_probabilities(name: str, converted: Convert) -> None:
    result = converted(name)
    model = build(result.folder, classifier_activation="softmax")
    pixels = images(model)
    expected = keras.ops.softmax(answer(result.model, pixels))
    np.testing.assert_allclose(answer(model, pixels), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "eagerly"),
    [
        ("mobilevit", False),  # has the layers of both others; to compile a step takes seconds
        *((name, True) for name in ("mobilenet", "vit")),
        *(pytest.param(name, False, marks=pytest.mark.slow) for name in ("mobilenet", "vit")),
    ],
)
def test_without_weights_it_is_fresh_and_can_learn(
    name: str, eagerly: bool, converted: Convert
) -> None:
    result = converted(name)
    model = getattr(module_of(result), name)(weights=None)
    pixels = images(model, 4)
    found = answer(model, pixels, training=True)  # with the statistics of the batch
    assert np.isfinite(found).all() and 1e-2 < found.std() < 10
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=eagerly)
    before = [keras.ops.convert_to_numpy(each) for each in model.trainable_variables]
    history = model.fit(pixels, np.arange(4) % 2, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    after = [keras.ops.convert_to_numpy(each) for each in model.trainable_variables]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "pooling of nothing known": ({"include_top": False, "pooling": "sum"}, "not 'sum'"),
    "pooling before the head": ({"pooling": "avg"}, "with include_top=False"),
    "dropping all": ({"dropout": 1.0}, "dropout is a rate"),
    "an activation of no head": (
        {"include_top": False, "classifier_activation": "softmax"},
        "needs include_top=True",
    ),
    "grey images": ({"input_shape": (64, 64, 1)}, r"conv_1\w*/kernel has shape"),
    "no known size": ({"input_shape": (None, None, 3)}, "height and width must be known"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_is_impossible_is_said(case: str, converted: Convert) -> None:
    arguments, said = IMPOSSIBLE[case]
    function = module_of(converted("mobilevit")).mobilevit
    with pytest.raises(ValueError, match=said):
        function(**arguments)


def test_building_says_which_of_arguments_and_weights_is_wrong(
    converted: Convert, tmp_path: Path
) -> None:
    folder = converted("mobilevit").folder
    with pytest.raises(UnsupportedError, match="dropout is a rate"):
        build(folder, dropout=2)
    with pytest.raises(UnsupportedError, match="no argument 'classes'"):
        build(folder, classes=2)
    with pytest.raises(InvalidModelError, match="does not fit the model"):
        build(folder, input_shape=(64, 64, 1))
    with pytest.raises(InvalidModelError, match=r"cannot be read: .*nowhere\.safetensors"):
        build(folder, weights=str(tmp_path / "nowhere.safetensors"))


@pytest.mark.parametrize("choice", ["none", 7])
def test_a_conversion_may_come_with_another_head(
    choice: Any, file: Callable[[str], Path], tmp_path: Path
) -> None:
    result = onnx2mvit.convert(file("mobilevit"), tmp_path, head=choice, inputs=2)
    assert result.passed  # of the head that the file has
    assert result.report["model"]["head"] == choice
    output = (None, 7) if choice == 7 else (None, 16, 16, 32)
    assert result.model.output_shape == output
    assert build(result.folder).output_shape == output
    stored = keras.models.load_model(result.folder / "mobilevit.keras")
    pixels = images(stored)
    assert (answer(stored, pixels) == answer(result.model, pixels)).all()
    assert onnx2mvit.verify(file("mobilevit"), result.folder, inputs=1).passed


@pytest.mark.parametrize("text", ["0", "-1", "ten", "", "10000000000", "1.5", "٣٢", "9" * 5000])
def test_a_head_is_kept_left_out_or_a_number_of_classes(text: str) -> None:
    with pytest.raises(UsageError, match="keep, none, or a number of classes"):
        parse_head(text)
    assert [parse_head(each) for each in ("keep", "none", "10")] == ["keep", "none", 10]


def test_it_goes_through_every_format_of_keras(converted: Convert, tmp_path: Path) -> None:
    result = converted("mobilevit")
    pixels = images(result.model)
    expected = answer(result.model, pixels)
    result.model.save_weights(tmp_path / "model.weights.h5")
    fresh = module_of(result).mobilevit(weights=None)
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert (answer(fresh, pixels) == expected).all()
    fresh.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert np.abs(loaded.serve(pixels).numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [pytest.param("mobilevit", marks=pytest.mark.slow), "vit"])
def test_it_works_in_mixed_precision_and_quantized(name: str, converted: Convert) -> None:
    result = converted(name)
    pixels = images(result.model)
    expected = answer(result.model, pixels)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build(result.folder)
    finally:
        keras.config.set_dtype_policy(policy)
    found = answer(mixed, pixels)
    assert mixed.compute_dtype == "bfloat16"
    assert np.abs(found.astype(np.float32) - expected).max() < 0.1 * np.abs(expected).max()
    quantized = build(result.folder)
    quantized.quantize("int8")
    assert np.abs(answer(quantized, pixels) - expected).max() < 0.1 * np.abs(expected).max()


def inner_names(model: keras.Model, inside: str = "") -> list[str]:
    """All blocks and layers below nested models, by path."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += [inside + layer.name, *inner_names(layer, f"{inside}{layer.name}/")]
        elif inside and not isinstance(layer, keras.layers.InputLayer):
            found.append(inside + layer.name)
    return found


def test_features_of_nested_and_flat_models_are_the_same(converted: Convert) -> None:
    result = converted("mobilevit")
    flat = build(result.folder, nested=False)
    names = ["conv_1", *inner_names(result.model)[::4]]
    assert sum("/" in name for name in names) > 5
    pixels = images(flat)
    for nested, other in zip(
        onnx2mvit.features(result.model, names)(pixels),
        onnx2mvit.features(flat, names)(pixels),
        strict=True,
    ):
        assert nested.shape == other.shape
        assert np.abs(np.asarray(nested) - np.asarray(other)).max() <= 1e-5
    with pytest.raises(UsageError, match="no block 'layer_9'"):
        onnx2mvit.features(flat, ["layer_9"])


@pytest.mark.parametrize("name", ["mobilevit", "mobilenet"])
def test_the_pyramid_is_the_last_block_at_each_stride(name: str, converted: Convert) -> None:
    result = converted(name)
    levels = module_of(result).PYRAMID
    made = onnx2mvit.features(result.model, levels)(images(result.model, 1))
    side = [tensor.shape[1] for tensor in (made if isinstance(made, list) else [made])]
    strides = {"mobilevit": [4], "mobilenet": [4, 8, 16]}[name]
    assert side == [SIDE[name] // stride for stride in strides]


def test_feature_models_share_their_weights(converted: Convert) -> None:
    model = build(converted("mobilevit").folder)
    features = onnx2mvit.features(model, ["layer_3.1/global_rep.0"])
    assert {id(weight) for weight in features.weights} <= {id(weight) for weight in model.weights}
