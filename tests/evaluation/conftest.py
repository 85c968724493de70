"""A network that tells colours apart, and photographs of them."""

from pathlib import Path

import pytest

import onnx2mvit
from tests.support.graphs import save

EACH = 3  # images of a colour


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.photographs import colour_network

    return save(colour_network(), tmp_path_factory.mktemp("network"), "colours.onnx")


@pytest.fixture(scope="module")
def converted(network: Path) -> Path:
    return onnx2mvit.convert(network, network.parent / "keras_out", verify=False).folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.photographs import folder_of_classes

    return folder_of_classes(tmp_path_factory.mktemp("photos"), EACH)
