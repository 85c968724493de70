"""What the documentation shows is run: in the tutorial's folder, on the tutorial's network."""

import contextlib
import io
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Ran, Run, exit_code
from tests.support.snippets import MODULES, PAGES, ROOT, Snippet, run_snippet, snippets

pytest.importorskip("torch")
pytest.importorskip("sklearn")

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
    made = learned / "deployed/trained_litert_float32/trained.tflite"
    assert made.is_file() is (find_spec(MODULES["tensorflow"]) is not None)


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


@pytest.mark.parametrize("said", ["skip", "needs nothing"])
def test_a_comment_that_says_nothing_of_a_snippet_is_an_error(said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {said} -->\n```sh\nonnx2mvit\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"page\.md:2: '{said}'"):
        snippets(page)


def test_what_is_lacking_must_be_said_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    text = "<!-- needs tensorflow; slow: so -->\n```sh\nonnx2mvit patterns Dense\n```\n"
    page.write_text(text, encoding="utf-8")
    (snippet,) = snippets(page)
    assert (snippet.needs, snippet.slow) == ("tensorflow", True)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    said = "error: This needs tensorflow: pip install 'onnx2mvit[tensorflow]'.\n"
    run_all([snippet], tmp_path, lambda *given: Ran(6, "", said))
    for wrong in (Ran(0, "", said), Ran(6, "", "error: no\n"), Ran(6, "", said + said)):
        with pytest.raises(AssertionError):
            run_all([snippet], tmp_path, lambda *given, ran=wrong: ran)
