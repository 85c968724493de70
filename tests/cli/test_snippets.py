"""What the documentation shows is run: in the tutorial's folder, on the tutorial's network."""

import contextlib
import io
import re
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


@pytest.mark.parametrize("page", [TUTORIAL, *OTHERS], ids=str)
def test_no_snippet_of_a_page_is_overlooked(page: Path) -> None:
    fences = re.findall(r"^ *```(?:python|sh|console)$", page.read_text("utf-8"), re.MULTILINE)
    assert len(snippets(page)) == len(fences)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```console\n$ onnx2mvit patterns Dense\nNoSuchLine\n```\n", r"page\.md:1"),
        ("```sh\nonnx2mvit inspect nowhere.onnx\n```\n", "nowhere.onnx does not exist"),
        ("```sh\npip install keras\n```\n", "pip is not run"),
        ("<!-- in README.md -->\n```python\nno_such_line()\n```\n", "is not in README.md"),
    ],
)
def test_what_is_not_so_is_found(text: str, why: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=why):
        run_all(snippets(page), tmp_path, captured)


def test_a_comment_that_says_nothing_of_a_snippet_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- skip -->\n```sh\nonnx2mvit\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md:2: 'skip'"):
        snippets(page)
