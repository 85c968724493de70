"""Published weights, fetched over HTTP from a stand-in of Hugging Face's hub and of Apple's server.

Its repositories and folders have the layout of the true ones; the networks in them are small.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers

from onnx2mvit.base.hub import HubError
from onnx2mvit.errors import UsageError
from onnx2mvit.exporter import apple, export
from onnx2mvit.exporter.checkpoint import apple_key
from onnx2mvit.exporter.models import load
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.reader.preprocessing import METADATA
from onnx2mvit.runtimes import OnnxRuntimeRunner
from tests.support.hub_stand_ins import Hub, HuggingFace, download_from, served

pytestmark = pytest.mark.xdist_group("hub")

REPOSITORY = "apple/mobilevit-xx-small"
SMALL: dict[str, Any] = {
    "hidden_sizes": [32, 40, 48],
    "neck_hidden_sizes": [8, 8, 16, 24, 32, 40, 64],
    "expand_ratio": 2.0,
    "image_size": 64,
    "num_labels": 10,
}
# As it stands in the repository, but for the size.
PREPROCESSOR = {
    "crop_size": 64, "do_center_crop": True, "do_flip_channel_order": True, "do_resize": True,
    "feature_extractor_type": "MobileViTFeatureExtractor", "resample": 2, "size": 72,
}  # fmt: skip


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small MobileViT, and the folder that save_pretrained writes of it."""
    folder = tmp_path_factory.mktemp("repository")
    model = transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**SMALL))
    randomize(model, 3)
    model.train(False)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return model, folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """In the place of the hub and of Apple's server, with empty caches."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "torch"))
    with served(HuggingFace) as hub:
        hub.repository = REPOSITORY
        download_from(hub, tmp_path / "hub", monkeypatch)
        monkeypatch.setattr(apple, "MODELS", f"{hub.url}/ml-research/models")
        yield hub
    torch.hub.set_dir(before)


def same_answers(model: Any, path: Path) -> None:
    images = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    (got,) = OnnxRuntimeRunner(path)(images).values()
    with torch.no_grad():
        assert np.abs(got - model(torch.from_numpy(images)).logits.numpy()).max() < 1e-4


def test_a_repository_of_the_hub(network: tuple[Any, Path], server: Hub, tmp_path: Path) -> None:
    model, folder = network
    server.files |= {each.name: each.read_bytes() for each in folder.iterdir()}
    path = tmp_path / "m.onnx"
    result = export("mobilevit_xxs", path, weights="auto", exporter="legacy", warn=pytest.fail)
    assert result.weights == f"hub {REPOSITORY}"
    same_answers(model, path)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    how = json.loads(metadata[METADATA])
    assert (how["size"], how["crop"], how["channels"]) == ([64, 64], 64 / 72, "bgr")
    assert how["origin"] == "preprocessor_config.json"
    # What is in the cache now is not asked for again, even if the hub is gone.
    server.files.clear()
    server.requests.clear()
    again = load("mobilevit_xxs", "hub", seed=0, num_labels=None, warn=pytest.fail)
    assert not server.requests and again.weights == result.weights


def test_a_repository_that_is_not_there(server: Hub) -> None:
    server.repository = "another/one"
    with pytest.raises(HubError, match=r"gave no apple/mobilevit-xx-small.*404"):
        load("mobilevit_xxs", "hub", seed=0, num_labels=None, warn=pytest.fail)
    assert server.requests == [f"GET /api/models/{REPOSITORY}"]  # nothing was tried again


def test_a_checkpoint_of_apples_by_its_address(
    network: tuple[Any, Path], server: Hub, tmp_path: Path
) -> None:
    model = load("mobilevit_xxs", "random", seed=1, num_labels=None, warn=pytest.fail).model
    fused: dict[str, list[torch.Tensor]] = {}
    for name, tensor in model.state_dict().items():  # query, key and value stand in this order
        fused.setdefault(apple_key(name, "mobilevit"), []).append(tensor)
    torch.save({key: torch.cat(each) if len(each) > 1 else each[0] for key, each in fused.items()},
               tmp_path / "saved.pt")  # fmt: skip
    place = "/ml-research/models/cvnets/classification/mobilevit_xxs.pt"
    server.files[place] = (tmp_path / "saved.pt").read_bytes()
    loaded = load("mobilevit_xxs", "apple", seed=0, num_labels=None, warn=pytest.fail)
    assert loaded.weights == server.url + place
    assert loaded.preprocessing.channels == "bgr"
    expected = model.state_dict()
    assert all(
        torch.equal(each, expected[name]) for name, each in loaded.model.state_dict().items()
    )
    server.files.clear()
    server.requests.clear()
    load("mobilevit_xxs", server.url + place, seed=0, num_labels=None, warn=pytest.fail)
    assert not server.requests  # it lies in the cache
    with pytest.raises(HubError, match=r"mobilevit_xs\.pt cannot be fetched: .*404"):
        load("mobilevit_xs", "apple", seed=0, num_labels=None, warn=pytest.fail)


def test_where_apple_has_them() -> None:
    assert apple.address("mobilevit_s").endswith("/cvnets/classification/mobilevit_s.pt")
    assert apple.address("mobilevitv2_075").endswith("/imagenet1k/256x256/mobilevitv2-0.75.pt")
    assert apple.address("mobilevitv2_200").endswith("/imagenet1k/256x256/mobilevitv2-2.0.pt")
    with pytest.raises(UsageError, match="Apple has no resnet_50"):
        apple.address("resnet_50")
