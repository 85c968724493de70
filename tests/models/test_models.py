"""Networks by name are what the converter writes today, and are built without torch and ONNX."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from onnx2mvit import models
from onnx2mvit.base.hub import HubError
from onnx2mvit.builder.weights import variables_by_path
from onnx2mvit.errors import InvalidModelError, UsageError
from onnx2mvit.exporter.models import names as exported
from tests.support import zoo
from tests.support.hub_stand_ins import HuggingFace, download_from, served

# One of each way of writing attention, and of the smallest networks, whose weights are soon made.
SOME = ("mobilevit_xxs", "mobilenet_v2_035", "deit_tiny_distilled_patch16_224", "convnextv2_atto")
BUILT = """
import sys
from onnx2mvit import models
assert "mobilevit_xxs" in models.list() and models.list("mobilevit_x*") == [
    "mobilevit_xs", "mobilevit_xxs"]
assert "keras" not in sys.modules
model = models.mobilevit_xxs(input_shape=(128, 128, 3), num_classes=10)
assert not {"torch", "onnx", "transformers"} & sys.modules.keys()
import numpy as np
kernels = [each for each in model.trainable_weights if each.path.endswith("kernel")]
before = [np.array(each) for each in kernels]
model.compile("sgd", "mse", run_eagerly=True)
model.fit(np.random.rand(2, 128, 128, 3), np.ones((2, 10)), verbose=0)
assert len(kernels) > 50
assert all((np.array(each) != old).any() for each, old in zip(kernels, before))
assert model.output_shape == (None, 10)
"""


def test_there_is_a_model_for_every_network_that_can_be_exported() -> None:
    assert models.list() == sorted(exported()) == zoo.names()
    assert models.list("no*such") == []
    assert set(models.list()) < set(dir(models))
    with pytest.raises(AttributeError, match="no_such_network"):
        _ = models.no_such_network


@pytest.mark.parametrize(
    "name",
    [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in zoo.names()],
)
def test_its_module_is_what_the_converter_writes(name: str) -> None:
    written = (zoo.MODULES / f"{name}.py").read_text(encoding="utf-8")
    assert zoo.source(name) == written, "run `make zoo`"


def test_it_is_built_and_trains_without_torch_and_onnx() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_weights_that_cannot_be_had_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mobilevit_xxs.safetensors").write_bytes(
        (2).to_bytes(8, "little") + b"{}"  # no tensors
    )
    for weights, kind, says in (
        (tmp_path / "none.safetensors", UsageError, "there is no such file"),
        (tmp_path, InvalidModelError, "does not fit the model"),
        (Path(__file__).parent, UsageError, "has 0 safetensors files"),
        ("hf://mobilevit", UsageError, "OWNER/REPOSITORY is wanted"),
        ("hf://me/mine", HubError, "the Hugging Face hub gave no me/mine, .*404"),
        ("hf://me/net", HubError, r"gave no me/net, .*404.*"),
    ):
        with served(HuggingFace) as hub, pytest.raises(kind, match=says):
            download_from(hub, tmp_path / "cache", monkeypatch)
            models.mobilevit_xxs(input_shape=(64, 64, 3), weights=weights)


def test_weights_come_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = models.mobilevit_xxs(input_shape=(64, 64, 3))
    tensors = {path: np.asarray(each) for path, each in variables_by_path(made)}
    with served(HuggingFace) as hub:
        download_from(hub, tmp_path, monkeypatch)
        hub.files["mobilevit_xxs.safetensors"] = safetensors.numpy.save(tensors)
        loaded = models.mobilevit_xxs(input_shape=(64, 64, 3), weights="hf://me/net")
    found = {path: np.asarray(each) for path, each in variables_by_path(loaded)}
    assert found.keys() == tensors.keys()
    assert all((found[path] == tensors[path]).all() for path in tensors)
