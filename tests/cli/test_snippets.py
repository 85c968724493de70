"""What the documentation shows is run: in the tutorial's folder, on the tutorial's network."""

import contextlib
import io
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from tests.support.command_line import Ran, Run, exit_code
from tests.support.snippets import PAGES, ROOT, Snippet, run_snippet, snippets

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("sklearn")
if keras.backend.backend() != "tensorflow":
    pytest.skip("LiteRT files are written on TensorFlow", allow_module_level=True)

pytestmark = pytest.mark.xdist_group("snippets")  # the tutorial is run once
TUTORIAL = PAGES / "tutorial.md"
OTHERS = sorted({*PAGES.rglob("*.md"), ROOT / "README.md"} - {TUTORIAL})
NAMES = {page: str(page.relative_to(ROOT)) for page in OTHERS}
FAST = [
    page for page in OTHERS if any(not (each.left_alone or each.slow) for each in snippets(page))
]
SLOW = [page for page in OTHERS if any(each.slow for each in snippets(page))]


def captured(*arguments: object) -> Ran:
    """A command's exit code and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exit_code(*arguments)
    return Ran(code, out.getvalue(), err.getvalue())


def run_all(found: Iterable[Snippet], folder: Path, run: Run) -> None:
    """Runs snippets in order, in one namespace, in a folder."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("COLUMNS", "160")
        patch.syspath_prepend(folder)
        for each in found:
            run_snippet(each, namespace, run)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the tutorial was followed."""
    folder = tmp_path_factory.mktemp("tutorial")
    run_all([each for each in snippets(TUTORIAL) if not each.left_alone], folder, captured)
    yield folder
    sys.modules.pop("network", None)


def test_the_tutorial_ends_with_a_file_for_a_phone(learned: Path) -> None:
    assert (learned / "deployed/trained_litert_float32/trained.tflite").is_file()


@pytest.mark.parametrize("page", FAST, ids=NAMES.get)
def test_the_snippets_of_a_page_run(page: Path, learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    found = [each for each in snippets(page) if not (each.left_alone or each.slow)]
    run_all(found, tmp_path, captured)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=NAMES.get)
def test_its_slow_snippets_run_too(page: Path, learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    run_all([each for each in snippets(page) if not each.left_alone], tmp_path, captured)
