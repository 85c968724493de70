"""What several tests need: real exports, complete models made of them, and small graphs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import skeletons
from tests.support.command_line import Ran, Run, exit_code


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


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run("inspect", path) runs a command line in this process."""

    def main(*arguments: object) -> Ran:
        capsys.readouterr()
        code = exit_code(*arguments)
        return Ran(code, *capsys.readouterr())

    return main
