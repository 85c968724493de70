"""What a conversion shows of itself at a prompt and in a notebook."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import onnx2mvit
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("report")

NETWORK = """g (float[N,3,32,32] x) => (float[N,4,32,32] y) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("made")
    file = save(model(NETWORK, w=(4, 3, 1, 1), b=(4,)), folder, "tiny.onnx")
    return onnx2mvit.convert(file, folder / "out", inputs=2)


def test_at_a_prompt_it_is_three_lines(made: onnx2mvit.Conversion) -> None:
    verdict, recognised, where = repr(made).split("\n")
    assert re.fullmatch(r"tiny from tiny\.onnx: passed, off by \S+ of the largest value", verdict)
    assert recognised == "3 of 3 nodes in blocks, 16 parameters"
    assert where == f"{made.folder}/: tiny.py, report.html"


def test_what_was_not_compared_does_not_pass(made: onnx2mvit.Conversion) -> None:
    unproven = replace(made, report={**made.report, "verification": None})
    assert repr(unproven).startswith("tiny from tiny.onnx: not compared with onnxruntime\n")
    assert "not compared with onnxruntime" in unproven._repr_html_()


class Links(HTMLParser):
    """The targets of links, and the texts of what a page says."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.links += [value for key, value in attrs if key == "href" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_in_a_notebook_it_is_the_verdict_the_tree_and_links(made: onnx2mvit.Conversion) -> None:
    html = made._repr_html_()
    assert ">passed</b>" in html and "<b>ConvBnAct</b>" in html and "3 of 3 nodes" in html
    page = Links()
    page.feed(html)
    assert page.open == []
    assert [Path(link).name for link in page.links] == ["report.html", "tiny.py"]
    assert all(Path(link).is_file() for link in page.links)


def test_names_of_the_file_are_text_there(made: onnx2mvit.Conversion) -> None:
    onnx = {**made.report["onnx"], "file": "<script>x</script>\u202e.onnx"}
    html = replace(made, report={**made.report, "onnx": onnx})._repr_html_()
    assert "<script>" not in html and "\u202e" not in html
