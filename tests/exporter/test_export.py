"""Exports: both exporters write what was asked for, and it answers as torch does."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from onnx2mvit.base.quiet import as_command_line
from onnx2mvit.errors import (
    InvalidModelError,
    MissingDependencyError,
    Onnx2mvitError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from onnx2mvit.exporter import ExportResult, export, hub, pipeline, torch_export
from onnx2mvit.exporter.models import load
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.exporter.variants import VARIANTS
from onnx2mvit.reader.preprocessing import METADATA

pytestmark = pytest.mark.xdist_group("export")  # its fixtures are slow to make

MODEL = "mobilevit_xxs"


@dataclass(frozen=True)
class Network:
    """What is known of a network: its side in pixels, its layers, its numbers, and its class."""

    size: int
    convolutions: int
    batch_norms: int
    parameters: int
    labels: int
    source: str


REAL = Network(256, 35, 32, 1_272_024, 1000, "MobileViTForImageClassification")
SMALL = Network(224, 6, 6, 6_226, 10, "ResNetForImageClassification")


@dataclass(frozen=True)
class Kind:
    """An export: of the real network or of the small one, by which exporter, and how."""

    network: Network
    exporter: str
    fold: bool

    def __str__(self) -> str:
        size = "small-" if self.network is SMALL else ""
        return f"{size}{self.exporter}-{'folded' if self.fold else 'kept'}"


WAYS = [(exporter, fold) for exporter in ("dynamo", "legacy") for fold in (False, True)]
QUICK = Kind(REAL, "legacy", False)  # of the real network in a fast run; the others are slow
KINDS = [
    *(Kind(SMALL, *way) for way in WAYS),
    QUICK,
    *(pytest.param(Kind(REAL, *way), marks=pytest.mark.slow) for way in WAYS[:2] + WAYS[3:]),
]


@cache
def random_model(seed: int = 0, name: str = MODEL) -> Any:
    """One that no test changes."""
    return load(name, "random", seed=seed, num_labels=None, warn=print).model


def images(batch: int, height: int = 256, width: int = 256) -> np.ndarray:
    return np.random.default_rng(batch).random((batch, 3, height, width), np.float32)


def answer(path: Path, batch: np.ndarray) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"pixel_values": batch})[0])


def torch_answer(model: Any, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(batch)).logits)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a network that is exported in a moment: a ResNet of two blocks."""
    folder = tmp_path_factory.mktemp("tiny")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    config.num_labels = 10
    network = transformers.ResNetForImageClassification(config)
    randomize(network, 6)
    network.save_pretrained(folder)
    return str(folder)


def quick(path: Path, **options: object) -> ExportResult:
    """Export with the exporter that takes a second instead of seven."""
    settings: dict[str, Any] = {"weights": "random", "exporter": "legacy", **options}
    model = str(settings.pop("model", MODEL))
    return export(model, path, **settings)


Exported = tuple[Kind, ExportResult]
Export = Callable[[Kind], ExportResult]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Export:
    """Each of the exports, made once."""

    @cache
    def made(kind: Kind) -> ExportResult:
        path = tmp_path_factory.mktemp("export") / "new" / "model.onnx"
        model = MODEL if kind.network is REAL else tiny
        return export(
            model, path, weights="random", seed=5, exporter=kind.exporter, fold_bn=kind.fold
        )

    return made


@pytest.fixture(params=KINDS, ids=str)
def exported(request: pytest.FixtureRequest, make: Export) -> Exported:
    return request.param, make(request.param)


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


class Hub:
    """Stands in for the hub: the first call asks the cache, which is empty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: object = None) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.model = model
        self.missing: list[str] = []
        classifier = transformers.MobileViTForImageClassification
        monkeypatch.setattr(classifier, "from_pretrained", self.read)
        monkeypatch.setattr(transformers.PreTrainedConfig, "get_config_dict", self.read)
        monkeypatch.setattr(hub, "hf_hub_download", self.download)
        monkeypatch.setattr(hub, "probe", self.probe)

    def read(self, name: str, *, local_files_only: bool, **_options: object) -> object:
        self.calls.append((name, local_files_only))
        if local_files_only:
            raise OSError("not in the cache")
        return self.model, {"missing_keys": self.missing}

    def download(self, name: str, file: str, *, local_files_only: bool) -> str:
        """It has the network alone, and no other file."""
        self.calls.append((name, local_files_only))
        raise OSError(f"no {file}")

    def probe(self, _name: str) -> None:
        if self.model is None:
            raise ConnectionError("no route\nto anywhere")


def test_hub_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub(monkeypatch)
    with pytest.raises(Onnx2mvitError) as caught:
        export(MODEL, tmp_path / "model.onnx")
    assert caught.value.exit_code == 1
    assert "--weights random" in str(caught.value) and "no route" in str(caught.value)
    assert "\n" not in str(caught.value)
    # The download, with its long retries, was not even tried.
    assert hub.calls == [("apple/mobilevit-xx-small", True)]
    assert not list(tmp_path.iterdir())


def test_hub_down_with_auto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Hub(monkeypatch)
    warnings: list[str] = []
    result = quick(
        tmp_path / "model.onnx", weights="auto", seed=4, image_size=(64, 64), warn=warnings.append
    )
    assert result.weights == "random (seed 4)"
    assert len(warnings) == 1
    assert "no route" in warnings[0] and "RANDOM WEIGHTS (seed 4)" in warnings[0]


@pytest.mark.parametrize("weights", ["hub", "auto", "random"])
def test_unknown_repository_without_hub(
    weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Hub(monkeypatch)
    with pytest.raises(hub.HubError, match="gave no someone/model"):
        quick(tmp_path / "model.onnx", model="someone/model", weights=weights)


def test_hub_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = random_model(seed=8)
    hub = Hub(monkeypatch, model)
    result = quick(tmp_path / "model.onnx", weights="hub", image_size=(64, 64), warn=pytest.fail)
    assert result.weights == "hub apple/mobilevit-xx-small"
    # The network and its preprocessing, each from the cache, then from the hub.
    assert [cached for _, cached in hub.calls] == [True, False, True, False]
    auto = load(MODEL, "auto", seed=0, num_labels=None, warn=pytest.fail)
    assert auto.weights == result.weights
    got = answer(result.path, images(1, 64, 64))
    assert np.abs(got - torch_answer(model, images(1, 64, 64))).max() < 1e-4
    hub.missing = ["classifier.weight"]
    with pytest.raises(InvalidModelError, match=r"lacks 1 weights: classifier\.weight"):
        quick(tmp_path / "model.onnx", weights="hub")


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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "bert"}', "is a bert model, not one of mobilevit, "),
        (
            '{"model_type": "mobilevit", "architectures": ["MobileViTForObjectDetection"]}',
            "classifies neither images nor pixels",
        ),
        (
            '{"model_type": "mobilevit", "architectures": ["MobileViTForImageClassification"],'
            ' "num_attention_heads": 5}',
            "cannot be built: .*5",
        ),
    ],
)
def test_other_models(config: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UnsupportedError, match=message):
        quick(tmp_path / "model.onnx", model=str(tmp_path))


def test_failed_check_leaves_the_old_file(
    tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spoilt(*arguments: Any) -> onnx.ModelProto:
        model = torch_export.to_onnx(*arguments)
        bias = next(t for t in model.graph.initializer if t.name == "model.classifier.1.bias")
        values = onnx.numpy_helper.to_array(bias).copy()
        values[7] += 0.01
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return model

    monkeypatch.setattr(pipeline, "to_onnx", spoilt)
    path = tmp_path / "model.onnx"
    with pytest.raises(VerificationError, match=r"differs from torch by 1\.00e-02"):
        quick(path, model=tiny)
    assert not list(tmp_path.iterdir())
    path.write_text("old")
    with pytest.raises(VerificationError):
        quick(path, model=tiny)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_failed_exporter(
    tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Far beyond what it knows, the legacy exporter prints its whole graph before it fails.
    monkeypatch.setitem(torch_export.OPSETS, "legacy", range(9, 100))
    with as_command_line(), pytest.raises(UnsupportedError) as caught:
        quick(tmp_path / "model.onnx", model=tiny, fold_bn=True, opset=99)
    assert str(caught.value).startswith("the legacy exporter failed: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_unwritable_output(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Onnx2mvitError, match="cannot be written") as caught:
        quick(tmp_path / "file" / "model.onnx", model=tiny)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "mobilevit_xxl"}, "one of mobilevit_xxs, "),
        ({"exporter": "tf2onnx"}, "one of dynamo, legacy"),
        ({"opset": 8}, "legacy exporter writes opsets 9 to 20, not 8"),
        ({"exporter": "dynamo", "opset": 17}, "dynamo exporter writes opsets 18 to 25, not 17"),
        ({"image_size": (256, 16)}, "image size"),
        ({"num_labels": 0}, "from 1 on"),
        ({"weights": "hub", "num_labels": 10}, "own labels"),
        ({"seed": 2**63}, "seed"),
        ({"seed": -1}, "seed"),
    ],
)
def test_usage(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        quick(tmp_path / "model.onnx", **options)


def test_output_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        quick(tmp_path)


@pytest.mark.parametrize("package", ["torch", "transformers", "onnxscript"])
def test_missing_package(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        export(MODEL, tmp_path / "model.onnx", weights="random", exporter="dynamo")
    assert caught.value.exit_code == 6
    assert package in str(caught.value)
    assert "pip install 'onnx2mvit[export]'" in str(caught.value)


def test_import_is_light() -> None:
    code = "import sys, onnx2mvit.exporter; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
