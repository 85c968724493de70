"""What tests of exports share: a small network, and its exports, each made once."""

from functools import cache

import pytest
import transformers

from onnx2mvit.exporter import ExportResult, export
from onnx2mvit.exporter.random_weights import randomize
from tests.support.exports import KINDS, MODEL, REAL, Export, Exported, Kind


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
