"""MobileViT XXS, XS and S from Hugging Face's classes, by both of torch's exporters."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.exporter import export
from onnx2mvit.ir.network import Network
from onnx2mvit.reports.report import describe
from tests.support.skeletons import USUAL

Fill = Callable[[str], Path]
Lift = Callable[[str], Network]
TRAINABLE = {"xxs": 1_272_024, "xs": 2_317_848, "s": 5_578_632}
KINDS = {
    "ConvBnAct": 2,  # stem, final 1×1
    "InvertedResidual": 7,
    "MobileViTBlock": 3,
    "Classifier": 1,
}


@dataclass(frozen=True)
class Export:
    size: str
    exporter: str
    fold_bn: bool
    dynamic_batch: bool = True

    @property
    def bn(self) -> str:
        return "folded" if self.fold_bn else "kept"

    def __str__(self) -> str:
        return f"{self.size}-{self.exporter}-{self.bn}-{'dynb' if self.dynamic_batch else 'static'}"


EXPORTS = [
    *(
        Export(size, exporter, fold_bn)
        for size in TRAINABLE
        for exporter in ("dynamo", "legacy")
        for fold_bn in (False, True)
    ),
    *(
        Export("xxs", exporter, fold_bn, dynamic_batch=False)
        for exporter in ("dynamo", "legacy")
        for fold_bn in (False, True)
    ),
]


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    found = []
    for layer in model.layers:
        found += layers_of(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def tree_of(blocks: list[dict[str, Any]]) -> list[Any]:
    """Kinds, names and hyperparameters that do not depend on where normalization is."""
    bn = {"batch_norm", "use_bias", "bn_epsilon", "bn_momentum"}
    return [
        (
            block["kind"],
            block["name"],
            {key: value for key, value in block["params"].items() if key not in bn},
            tree_of(block["children"]),
        )
        for block in blocks
        if block["kind"] != "BatchNorm"
    ]


REFERENCES = {"xxs": "hf-mobilevit_xxs.dynamo.raw.dynb", "xs": "mobilevit_xs", "s": "mobilevit_xs"}


def names_of(tree: list[Any]) -> list[Any]:
    """The kinds and names of a tree alone: what the three sizes share."""
    return [(kind, name, names_of(children)) for kind, name, _, children in tree]


# Exported anew in a fast run too; the others of these are marked as slow.
FAST = "xxs-legacy-kept-dynb"
MARKED = [
    each if str(each) == FAST else pytest.param(each, marks=pytest.mark.slow) for each in EXPORTS
]
# The same networks by the same exporters, written once and committed without their weights.
COMMITTED = {
    "hf-mobilevit_xxs.dynamo.dynb": Export("xxs", "dynamo", fold_bn=True),
    "hf-mobilevit_xxs.legacy17.dynb": Export("xxs", "legacy", fold_bn=True),
    "mobilevit_xs": Export("xs", "dynamo", fold_bn=False),
    "hf-mobilevit_s.legacy17.bn.dynb": Export("s", "legacy", fold_bn=False),
}


@pytest.mark.parametrize("export_of", MARKED, ids=str)
def test_a_hugging_face_export_becomes_its_network(
    export_of: Export, lifted: Lift, tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    export(
        f"mobilevit_{export_of.size}",
        file,
        weights="random",
        exporter=export_of.exporter,
        fold_bn=export_of.fold_bn,
        dynamic_batch=export_of.dynamic_batch,
    )
    result = onnx2mvit.convert(file, tmp_path / "out")
    assert result.report["onnx"]["weights"] == "random (seed 0)"
    assert result.report["verification"]["inputs"] == 8
    assert_its_network(result, export_of, lifted(REFERENCES[export_of.size]))


# In a fast run legacy's export is made anew, and dynamo's is of XS; these are the same again.
OF_A_KIND = COMMITTED.keys() - {"mobilevit_xs"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in OF_A_KIND else name
        for name in COMMITTED
    ],
)
def test_a_committed_export_becomes_its_network(
    name: str, filled: Fill, lifted: Lift, tmp_path: Path
) -> None:
    result = onnx2mvit.convert(filled(name), tmp_path, inputs=2)
    export_of = COMMITTED[name]
    assert_its_network(result, export_of, lifted(REFERENCES[export_of.size]))


def assert_its_network(result: onnx2mvit.Conversion, export_of: Export, reference: Network) -> None:
    """All of it is in the blocks of the paper, and each of them is proven."""
    report = json.loads((result.folder / "report.json").read_text(encoding="utf-8"))
    assert report == result.report

    coverage = report["coverage"]
    assert coverage["in_blocks"] == coverage["nodes"] > 390
    assert coverage["single_ops"] == coverage["unsupported"] == 0
    assert report["batch_normalization"] == export_of.bn

    proof = report["verification"]
    assert proof["verdict"] == "passed"
    assert proof["max_rel_error"] <= 1e-5
    assert proof["top1_agreement"] == 1.0
    assert 0 < proof["noise_floor"] < 1e-4
    assert all(block["max_rel_error"] <= 1e-5 for block in proof["blocks"])
    compared = Counter(block["kind"] for block in proof["blocks"])
    assert compared["InvertedResidual"] == 7
    assert compared["TransformerLayer"] == compared["MultiHeadAttention"] == 9
    assert compared["Unfold"] == compared["Fold"] == 3

    assert Counter(block.kind for block in result.blocks) == KINDS
    depths = [block.depth for block in result.blocks if block.kind == "MobileViTBlock"]
    assert depths == [2, 4, 3]

    leaves = Counter(type(layer).__name__ for layer in layers_of(result.model))
    assert leaves["BatchNormalization"] == (0 if export_of.fold_bn else 32)
    assert leaves["LayerNormalization"] == 21
    assert leaves["Lambda"] == 0
    if not export_of.fold_bn:
        assert report["model"]["trainable_parameters"] == TRAINABLE[export_of.size]
    assert result.model.input_shape == (None, 256, 256, 3)

    # However it was exported, it is the same network.
    tree = tree_of(report["blocks"])
    theirs = tree_of(describe(reference)["blocks"])
    assert names_of(tree) == names_of(theirs)
    assert (tree == theirs) == (export_of.size != "s")


@pytest.fixture
def converted(unproven: Callable[[str], onnx2mvit.Conversion]) -> onnx2mvit.Conversion:
    return unproven(USUAL)


def test_every_layer_is_one_of_keras_own(converted: onnx2mvit.Conversion) -> None:
    for layer in layers_of(converted.model):
        assert type(layer).__module__.startswith("keras."), layer
    saved = json.loads(converted.model.to_json())
    assert 'registered_name": null' in json.dumps(saved)
    assert "Lambda" not in json.dumps(saved)


def test_the_summary_shows_the_tree(converted: onnx2mvit.Conversion) -> None:
    lines: list[str] = []
    converted.model.summary(expand_nested=True, print_fn=lines.append, line_length=140)
    text = "\n".join(lines)
    for name in ("encoder.layer.2", "transformer.layer.1", "attention", "expand_1x1_convolution"):
        assert name in text


def test_the_batch_is_free(converted: onnx2mvit.Conversion) -> None:
    images = np.random.default_rng(0).uniform(size=(3, 256, 256, 3)).astype(np.float32)
    together = np.asarray(converted.model(images))
    alone = np.concatenate([np.asarray(converted.model(image[None])) for image in images])
    assert together.shape == (3, 1000)
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_one_step_of_fit_changes_every_trainable_tensor(converted: onnx2mvit.Conversion) -> None:
    from onnx2mvit.builder.build import build

    model = build(converted.folder, input_shape=(128, 128, 3))
    before = [variable.numpy().copy() for variable in model.trainable_variables]
    statistics = [variable.numpy().copy() for variable in model.non_trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Some gradients are zero but for rounding (a shift before batch normalization, the bias of
    # the keys before softmax), in torch as here; Adam's step does not depend on their size.
    model.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(4, 128, 128, 3)).astype(np.float32)
    model.fit(images, rng.integers(0, 1000, size=4), batch_size=4, verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert (variable.numpy() != old).any(), variable.path
    for variable, old in zip(model.non_trainable_variables, statistics, strict=True):
        assert (variable.numpy() != old).any(), variable.path


def test_other_classes_and_sizes_are_arguments_of_the_emitted_function(
    converted: onnx2mvit.Conversion,
) -> None:
    from onnx2mvit.builder.build import import_module

    module = import_module(converted.source)
    model = module.net(input_shape=(192, 224, 3), num_classes=7)
    assert model.output_shape == (None, 7)
    assert model.input_shape == (None, 192, 224, 3)
