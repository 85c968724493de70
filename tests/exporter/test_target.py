"""What `convert` is given: a file, or a network that is exported first, to where `export` does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import onnx2mvit
from onnx2mvit.errors import InvalidModelError, UsageError
from onnx2mvit.exporter import export
from onnx2mvit.exporter.models import network_of
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.exporter.variants import VARIANTS
from onnx2mvit.target import is_network
from tests.support.command_line import Run

pytestmark = pytest.mark.xdist_group("export")

KNOWN = """
import sys
from onnx2mvit.target import is_network
assert is_network("mobilevit_xs") and not is_network("a.onnx")
assert not {"keras", "torch", "transformers"} & sys.modules.keys()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("mobilevit_xs", True),
        ("apple/mobilevit-small", True),
        ("there.pt", True),
        ("./saved", True),  # a folder of save_pretrained
        ("there", False),
        ("resnet_50", False),  # a file of this name is here
        ("there.onnx", False),
        ("nowhere.onnx", False),
        ("nowhere/model.onnx", False),
        ("nowhere/model.pt", False),
        ("folder", False),
    ],
)
def test_what_is_a_network(target: str, expected: bool, here: Path) -> None:
    for name in ("there.pt", "there", "resnet_50", "there.onnx"):
        (here / name).touch()
    for name in ("saved", "folder"):
        (here / name).mkdir()
    (here / "saved" / "config.json").touch()
    assert is_network(target) == expected


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("mobilevit_x", "did you mean 'mobilevit_xs' or "),
        ("folder/net", r"did you mean 'folder/net\.onnx'\?"),
        ("of no network", r"`onnx2mvit export --list` has all"),
    ],
)
def test_a_name_of_nothing(target: str, hint: str, here: Path, run: Run) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "net.onnx").touch()
    ran = run("convert", target)
    (line,) = ran.err.splitlines()
    assert ran.code == 2 and line.startswith(f"error: {target} does not exist, and is no name of")
    with pytest.raises(UsageError, match=hint):
        onnx2mvit.convert(target)


def test_names_are_known_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", KNOWN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_has_its_weights(run: Run) -> None:
    for option in (("--weights", "random"), ("--seed", "1"), ("--fold-bn",)):
        ran = run("convert", "net.onnx", *option)
        assert ran.code == 2 and "net.onnx is no network to be exported" in ran.err


def test_a_network_is_exported_and_converted(here: Path, run: Run) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetForImageClassification(config).save_pretrained(here / "tiny")
    options = ("--weights", "random", "--seed", 3, "--fold-bn", "--image-size", "64x96")
    ran = run("convert", "./tiny", *options, "--head", 7, "--inputs", 2)
    assert ran.code == 0, ran.err
    assert "exported exported_onnx/tiny.onnx: " in ran.out
    assert "onnxruntime is off torch by " in ran.out and "writing exported_onnx" in ran.err
    report = json.loads((here / "keras_out" / "tiny" / "report.json").read_text())
    assert report["onnx"]["file"] == "tiny.onnx" and (here / "exported_onnx/tiny.onnx").is_file()
    assert report["onnx"]["weights"] == "random (seed 3)"
    assert report["sizes"]["traced"] == [64, 96] and report["model"]["input_shape"][1:3] == [64, 96]
    assert report["batch_normalization"] == "folded" and report["seconds"]["export"] > 0
    assert [each["shape"][-1] for each in report["outputs"]] == [7]


def checkpoint(name: str, folder: Path, labels: int = 1000) -> Path:
    variant = VARIANTS[name]
    config = variant.config()
    config.num_labels = labels
    model = variant.classifier(config)
    randomize(model, 1)
    path = folder / f"{name}.of.mine.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize(("name", "labels"), [("mobilevitv2_050", 3), ("resnet_18", 1000)])
def test_a_checkpoint_is_of_the_network_whose_tensors_it_holds(
    name: str, labels: int, tmp_path: Path
) -> None:
    assert network_of(checkpoint(name, tmp_path, labels)) == name


def test_a_checkpoint_is_exported_under_its_own_name(here: Path) -> None:
    path = checkpoint("mobilenet_v2_035", here)
    made = export(str(path), exporter="legacy", image_size=(64, 64))
    assert made.path == Path("exported_onnx/mobilenet_v2_035.of.mine.onnx")
    assert made.weights == f"checkpoint {path.name}"
    with pytest.raises(UsageError, match="is a checkpoint: its weights are in it"):
        export(str(path), weights="random")


def test_checkpoints_of_no_network_and_of_several(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"resnet.layer.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"mine\.pt is none of export --list: .*--weights"):
        network_of(path)
    torch.save([1, 2], path)
    with pytest.raises(InvalidModelError, match="holds no state_dict"):
        network_of(path)
    several = "is one of vit_tiny_patch16_224 and deit_tiny_patch16_224: name the network"
    with pytest.raises(UsageError, match=several):
        network_of(checkpoint("vit_tiny_patch16_224", tmp_path))
