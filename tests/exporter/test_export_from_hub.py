"""Exports of what a hub has, and of what it has not or when it is not there."""

from pathlib import Path

import numpy as np
import pytest
import transformers

from onnx2mvit.base.hub import HubError
from onnx2mvit.errors import InvalidModelError, Onnx2mvitError
from onnx2mvit.exporter import export, hub
from onnx2mvit.exporter.models import load
from tests.support.exports import MODEL, answer, images, quick, random_model, torch_answer


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
        monkeypatch.setattr("onnx2mvit.base.hub.probe", self.probe)

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
    with pytest.raises(HubError, match="gave no someone/model"):
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
