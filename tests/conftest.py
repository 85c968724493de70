"""What several tests need: real exports, complete models made of them, and small graphs."""

import gc
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from onnx2mvit import inspect
from tests.support import skeletons
from tests.support.command_line import Ran, Run, exit_code

if TYPE_CHECKING:
    import onnx2mvit
    from onnx2mvit.ir.network import Network

# Two processes share two cores: where each has threads for both, they wait for one another, and
# torch's, which wait busily, take ten times the processor's time.
for library in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(library, "1")
# What tests start need not compile all of the sources each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Looking for garbage among the million objects of TensorFlow and torch was a tenth of the time.
gc.set_threshold(20_000, 20, 20)
_frozen: set[str] = set()


def pytest_runtest_setup() -> None:
    """Lets each test make models as a process of its own does.

    Keras counts what has no name of its own: the first resize is called "resize", as a layer may
    be, and the second one "resize_1".
    """
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.clear_session(free_memory=False)


def pytest_runtest_teardown() -> None:
    """Leaves them out for good once they are there: Keras collects for each layer it quantizes."""
    loaded = {"tensorflow", "torch"} & sys.modules.keys()
    if loaded - _frozen:
        _frozen.update(loaded)
        gc.freeze()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """filled("hf-mobilevit_xxs.dynamo.dynb") is a complete model of that export."""
    folder = tmp_path_factory.mktemp("filled")
    return cache(lambda name: skeletons.fill(skeletons.FOLDER / f"{name}.onnx.xz", folder))


@pytest.fixture(scope="session")
def lifted(filled: Callable[[str], Path]) -> Callable[[str], "Network"]:
    """lifted(NAME) is the network of that export, in blocks; read once."""
    return cache(lambda name: inspect(filled(name)))


@pytest.fixture(scope="session")
def unproven(
    filled: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], "onnx2mvit.Conversion"]:
    """unproven(NAME) is that export as the model `net`, converted once; no test changes it."""

    @cache
    def convert(name: str) -> "onnx2mvit.Conversion":
        import onnx2mvit

        folder = tmp_path_factory.mktemp("unproven")
        return onnx2mvit.convert(filled(name), folder, name="net", verify=False)

    return convert


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "onnx2mvit.Conversion"]:
    """A file of a MobileViT of one block of each kind, and what it became, called `net`."""
    import onnx2mvit
    from onnx2mvit.exporter.torch_export import Request
    from tests.support.networks import exported
    from tests.support.torch_mobilevit import Config, MobileViT

    folder = tmp_path_factory.mktemp("small")
    file = exported(MobileViT(Config()), Request("legacy", 17, False, True), folder)
    return file, onnx2mvit.convert(file, folder, verify=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run("inspect", path) runs a command line in this process."""

    def main(*arguments: object) -> Ran:
        capsys.readouterr()
        code = exit_code(*arguments)
        return Ran(code, *capsys.readouterr())

    return main
