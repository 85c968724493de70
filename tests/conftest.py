"""What several tests need: real exports, complete models made of them, and small graphs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import skeletons


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """filled("hf-mobilevit_xxs.dynamo.dynb") is a complete model of that export."""
    folder = tmp_path_factory.mktemp("filled")
    made: dict[str, Path] = {}

    def fill(name: str) -> Path:
        if name not in made:
            made[name] = skeletons.fill(skeletons.FOLDER / f"{name}.onnx.xz", folder)
        return made[name]

    return fill
