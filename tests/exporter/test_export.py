"""Exports: both exporters write what was asked for, and it answers as torch does."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers

from onnx2mvit.errors import (
    InvalidModelError,
    Onnx2mvitError,
)
from onnx2mvit.exporter import export
from onnx2mvit.exporter.models import load
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.exporter.variants import VARIANTS
from onnx2mvit.reader.preprocessing import METADATA
from tests.support.exports import (
    MODEL,
    REAL,
    SMALL,
    Exported,
    answer,
    images,
    quick,
    random_model,
    torch_answer,
)

pytestmark = pytest.mark.xdist_group("export")  # its fixtures are slow to make


def test_batch_normalization(exported: Exported) -> None:
    kind, result = exported
    graph = onnx.load(result.path).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["BatchNormalization"] == (0 if kind.fold else kind.network.batch_norms)
    assert kinds["Conv"] == kind.network.convolutions
    assert not {"Dropout", "RandomUniformLike"} & kinds.keys()
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            training = [a.i for a in node.attribute if a.name == "training_mode"]
            assert not any(training) and len([name for name in node.output if name]) == 1


def test_answers_as_torch(exported: Exported, tiny: str) -> None:
    kind, result = exported
    size, small = (kind.network.size,) * 2, kind.network is SMALL
    model = random_model(5, tiny if small else MODEL)
    for batch in (1, 3):
        expected = torch_answer(model, images(batch, *size))
        got = answer(result.path, images(batch, *size))
        assert got.shape == (batch, kind.network.labels)
        assert np.abs(got - expected).max() < 1e-4
    assert np.ptp(expected, axis=0).max() > 0.1, "the logits do not depend on the image"


def test_result_and_metadata(exported: Exported, tiny: str) -> None:
    kind, result = exported
    exporter, network = kind.exporter, kind.network
    opset = {"dynamo": 20, "legacy": 17}[exporter]
    model = onnx.load(result.path)
    assert model.opset_import[0].version == result.opset == opset
    assert result.nodes == len(model.graph.node)
    assert result.weights == "random (seed 5)"
    assert result.parameters == network.parameters
    assert result.max_abs_error < 1e-4 and 1 < result.max_abs_logit < 20
    assert result.seconds > 0
    assert [value.name for value in model.graph.input] == ["pixel_values"]
    assert [value.name for value in model.graph.output] == ["logits"]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    pixels = json.loads(metadata.pop(METADATA, "null"))
    if network is REAL:
        assert (pixels["channels"], pixels["crop"]) == ("bgr", 256 / 288)
        assert pixels["origin"] == f"{VARIANTS[MODEL].repository}, as published"
    else:
        assert pixels is None, "a folder without a preprocessor_config.json says nothing"
    version = torch.__version__.split("+")[0]
    assert metadata == {
        "onnx2mvit.model": MODEL if network is REAL else Path(tiny).name,
        "onnx2mvit.weights": "random (seed 5)",
        "onnx2mvit.source": f"transformers {transformers.__version__} {network.source}",
        "onnx2mvit.export": (
            f"torch {version} {exporter}, opset {opset}, "
            f"BatchNormalization {'folded' if kind.fold else 'kept'}"
        ),
    }


def test_a_folder_says_what_it_wants_of_photographs(tiny: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "tiny")
    config = {"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    loaded = load(str(folder), "hub", seed=0, num_labels=None, warn=print)
    how = loaded.preprocessing
    assert (how.crop, how.size, how.origin) == (None, (64, 64), "preprocessor_config.json")
    assert load(tiny, "hub", seed=0, num_labels=None, warn=print).preprocessing.is_assumed


def test_no_path_of_this_machine(exported: Exported) -> None:
    kind, result = exported
    content = result.path.read_bytes()
    for word in (b"stack_trace", b"site-packages", b".py", str(Path.cwd()).encode()):
        assert word not in content
    if kind.exporter == "dynamo":
        assert b"pkg.torch.onnx.name_scopes" in content, "conversion reads module paths there"


def test_one_file_and_nothing_else(exported: Exported) -> None:
    _, result = exported
    assert list(result.path.parent.iterdir()) == [result.path]


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_static_batch_and_odd_size(
    exporter: str, tiny: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[str] = []
    result = export(
        MODEL if exporter == "legacy" else tiny,
        tmp_path / "model.onnx",
        weights="random",
        exporter=exporter,
        dynamic_batch=False,
        image_size=(150, 100),
        num_labels=11,
        progress=steps.append,
    )
    batch = images(1, 150, 100)
    assert answer(result.path, batch).shape == (1, 11)
    with pytest.raises(Exception, match=r"invalid dimensions|Got: 3"):
        answer(result.path, images(3, 150, 100))
    assert [step.split()[0] for step in steps] == ["loading", "exporting", "comparing", "writing"]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_detector_gives_boxes_as_well(tmp_path: Path) -> None:
    backbone = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16]}
    backbone |= {"depths": [1, 1], "layer_type": "basic", "out_features": ["stage2"]}
    sizes: dict[str, Any] = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "num_queries": 7,
    }
    sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"use_timm_backbone": False, "use_pretrained_backbone": False}
    config = transformers.DetrConfig(backbone_config=backbone, **sizes)
    network = transformers.DetrForObjectDetection(config)
    randomize(network, 6)
    network.save_pretrained(tmp_path / "tiny")
    result = quick(tmp_path / "m.onnx", model=str(tmp_path / "tiny"), weights="hub",
                   image_size=(64, 96))  # fmt: skip
    outputs = [each.name for each in onnx.load(result.path).graph.output]
    assert outputs == ["logits", "pred_boxes"]


def test_seed() -> None:
    made = (load(MODEL, "random", seed=seed, num_labels=None, warn=print) for seed in (1, 1, 2))
    first, again, other = (each.model.state_dict() for each in made)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    load("mobilenet_v2_035", "random", seed=0, num_labels=None, warn=print)
    assert torch.equal(before, torch.get_rng_state())


def test_random_tensors_are_all_different() -> None:
    state = random_model().state_dict()
    seen = [tensor.numpy().tobytes() for tensor in state.values()]
    assert len(set(seen)) == len(seen) == 347
    for name, tensor in state.items():
        assert torch.isfinite(tensor).all()
        if tensor.ndim:
            assert tensor.unique().numel() == tensor.numel() or tensor.numel() > 1000, name
        if name.endswith("running_var"):
            assert tensor.min() > 0 and (tensor != 1).all()


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
def test_random_logits_are_sane(name: str) -> None:
    model = random_model(name=name)
    flat = np.full((1, 3, 256, 256), 0.2, np.float32)
    logits = torch_answer(model, np.concatenate([images(2), flat]))
    assert np.isfinite(logits).all() and 1 < np.abs(logits).max() < 20
    assert np.abs(logits[0] - logits[1]).max() > 0.1
    assert np.abs(logits[0] - logits[2]).max() > 0.5


def test_saved_model(tiny: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny, folder)
    model = transformers.ResNetForImageClassification.from_pretrained(folder)
    model.train(False)
    result = quick(tmp_path / "model.onnx", model=str(folder), weights="hub")
    assert result.weights == "folder mine"
    assert str(tmp_path).encode() not in result.path.read_bytes()
    got = answer(result.path, images(1, 224, 224))
    assert np.abs(got - torch_answer(model, images(1, 224, 224))).max() < 1e-4
    assert np.abs(got).max() > 0.1
    # Its shape is known, so random weights and other labels will do as well.
    result = quick(tmp_path / "model.onnx", model=str(folder), weights="random", num_labels=5)
    assert answer(result.path, images(1, 224, 224)).shape == (1, 5)

    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InvalidModelError, match="cannot be loaded"):
        quick(tmp_path / "model.onnx", model=str(folder), weights="hub")
    (folder / "model.safetensors").unlink()
    with pytest.raises(Onnx2mvitError, match="incomplete"):
        quick(tmp_path / "model.onnx", model=str(folder), weights="hub")


def test_import_is_light() -> None:
    code = "import sys, onnx2mvit.exporter; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
