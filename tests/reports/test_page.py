"""report.html says what report.json says, alone, and what comes from the file is text in it."""

import copy
import json
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.reader.rules import RULES
from onnx2mvit.reports.page import render
from onnx2mvit.reports.report import describe
from tests.support.graphs import model, save
from tests.support.pages import Page

pytestmark = pytest.mark.xdist_group("report")

ROOT = Path(__file__).parent.parent.parent
# A residual block with normalization, something no pattern takes, and a classifier.
NET = """g (float[N,8,8,8] image) => (float[N,10] logits) {
    a = Conv<pads=[1,1,1,1]>(image, w1)  b = BatchNormalization(a, s, s, s, s)  c = Relu(b)
    d = Conv<pads=[1,1,1,1]>(c, w2)  e = Add(d, image)  f = Sin(e)  i = Dropout(f)
    g = GlobalAveragePool(i)  h = Flatten(g)  logits = Gemm<transB=1>(h, w3, b3) }"""
WEIGHTS: dict[str, Any] = {
    **{"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3), "w3": (10, 8), "b3": (10,)},
    "s": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
}
OPERATORS = """g (float[N,8,8,8] image) => (float[N,8,8,8] first, float[N,8,8,8] second) {
    first = Sin(image)  c = Cos(first)  second = Mul(c, first) }"""
HOSTILE = (
    *(
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style><script>",
        "'onload='",
    ),
    *("</pre>", "</title>", "</svg>", "{{ 7 * 7 }}", "{% raw %}", "<!--", "]]>", "&lt;&amp;"),
    *("\u202egnp.exe", "\x1b[31m", "\0", "\ud800", "n" * 10_000),
)
Report = dict[str, Any]
Converted = Callable[..., onnx2mvit.Conversion]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("page")

    @cache
    def convert(text: str = NET, **options: Any) -> onnx2mvit.Conversion:
        file = save(model(text, **(WEIGHTS if text == NET else {})), folder, "net.onnx")
        name = "net_" + "_".join(options)
        return onnx2mvit.convert(file, folder / "out", name=name if options else None, **options)

    return convert


def written(conversion: onnx2mvit.Conversion) -> Page:
    return Page((conversion.folder / "report.html").read_text(encoding="utf-8"))


def page(report: Report, source: str = "x = 1\n") -> Page:
    return Page(render(report, source))


def test_the_page_beside_the_report_says_what_the_report_says(converted: Converted) -> None:
    result = converted()
    words = written(result).words
    assert words.startswith("net: passed")
    assert words.index("Passed") < words.index("The network") < words.index("Blocks")
    for figure in (
        f"{result.report['model']['parameters']:,} parameters",
        "100.0% of the answers agree",
        f"{result.report['verification']['max_rel_error']:.2e} of the largest value",
        f"SHA-256 of the file {result.report['onnx']['sha256']}",
    ):
        assert figure in words
    for block in result.blocks:
        assert block.name in words
    assert (result.folder / "net.py").read_text(encoding="utf-8").strip() in written(result).text


def test_the_page_needs_nothing_but_itself_and_runs_nothing(converted: Converted) -> None:
    html = (converted().folder / "report.html").read_text(encoding="utf-8")
    found = Page(html)
    assert {tag for tag, _ in found.elements}.isdisjoint({"script", "link", "img", "iframe"})
    assert "default-src 'none'" in html
    assert found.links and all(link.removeprefix("#") in found.ids for link in found.links)
    assert len(found.ids) == len(set(found.ids))
    assert "://" not in html and "@import" not in html


def test_every_block_has_its_size_and_the_sizes_add_up(converted: Converted) -> None:
    report = converted().report
    assert sum(block["parameters"] for block in report["blocks"]) == report["model"]["parameters"]
    shapes = [tuple(block["output_shape"]) for block in report["blocks"]]
    assert shapes[0] == (None, 8, 8, 8) and shapes[-1] == (None, 10)
    for block in report["blocks"]:
        if block["children"]:
            assert sum(child["parameters"] for child in block["children"]) == block["parameters"]


def test_the_page_says_which_rule_did_what_how_often(converted: Converted) -> None:
    rules = converted().report["simplification"]["rules"]
    assert rules["GemmIsMatMulAdd"] == 1
    assert set(rules) <= {rule.name for rule in RULES}
    words = written(converted()).words
    assert "GemmIsMatMulAdd 1 " in words
    assert "Gemm(x, w, b, transB=1) → Add(MatMul(x, wᵀ), b)" in words


def test_a_rule_that_fires_twice_is_counted_twice(tmp_path: Path) -> None:
    text = """g (float[2,8,4,4] x) => (float[2,8,1,1] y) {
        a = GlobalAveragePool(x)  b = Sin(x)  c = GlobalAveragePool(b)  y = Add(a, c) }"""
    told = describe(inspect(save(model(text), tmp_path)))["simplification"]
    assert told["nodes"] == told["constants_folded"] == told["rules_applied"] == 4
    assert told["rules"]["GlobalAveragePoolIsMean"] == 2


def test_single_operators_are_listed_with_the_reason(converted: Converted) -> None:
    words = written(converted()).words
    single = converted().report["single_operators"]
    assert "Sin" in {each["op"] for each in single}
    assert f"{len(single)} of " in words and "taken by no pattern" in words
    assert all(each["closest"] in words for each in single if each["closest"])


def test_a_conversion_that_was_not_verified_says_so(converted: Converted) -> None:
    found = written(converted(verify=False))
    assert "Not verified" in found.words and "Passed" not in found.words
    assert "histogram" not in found.classes
    assert not {"e0", "e1", "e2", "e3", "e4"} & set(found.classes)


def test_a_headless_model_says_that_its_head_is_left_out(converted: Converted) -> None:
    words = written(converted(head="none")).words
    assert "the head is left out" in words
    assert "The comparison was made with the file's own head." in words
    assert "a fresh head of 3 classes" in written(converted(head=3)).words


def test_a_model_for_any_size_shows_the_traced_one(converted: Converted) -> None:
    words = written(converted(image_size="any")).words
    assert "(batch, height any, width any, channels 8) float32" in words
    assert "batch×8×8×8" in words


def test_single_operators_alone_and_several_outputs_have_a_page(converted: Converted) -> None:
    result = converted(OPERATORS)
    assert result.passed
    words = written(result).words
    assert "None recognised; 3 single operators" in words
    assert "first" in words and "second" in words


def failed(report: Report) -> Report:
    """The same conversion, had a block gone wrong."""
    report = copy.deepcopy(report)
    report["verification"] |= {"verdict": "failed", "max_abs_error": 3.0, "max_rel_error": 0.25}
    for block in report["verification"]["blocks"][1:]:
        block["max_rel_error"] = 0.125
    return report


def test_a_failure_comes_first_and_names_where_it_begins(converted: Converted) -> None:
    report = failed(converted().report)
    found = page(report)
    first = report["verification"]["blocks"][1]
    assert found.words.startswith("net: failed")
    assert "Do not use this model" in found.words
    assert f"the first is {first['name']} ({first['kind']}, 1.25e-01)" in found.words
    assert "e4" in found.classes


def test_errors_that_are_not_finite_have_a_page(converted: Converted) -> None:
    report = failed(converted().report)
    report["verification"]["blocks"][0]["max_rel_error"] = 1.7976931348623157e308
    report["verification"]["max_rel_error"] = 1.7976931348623157e308
    assert "over a million times" in page(report).words


def test_a_file_that_is_wrong_at_other_sizes_is_told_of(converted: Converted) -> None:
    report = copy.deepcopy(converted().report)
    report["sizes"]["file_elsewhere"] = {"size": [320, 256], "onnxruntime": "stops"}
    assert "but at 320×256 onnxruntime stops" in page(report).words


def everywhere(value: Any, hostile: str) -> Any:
    """All names of a report with something before them."""
    if isinstance(value, str):
        return hostile + value
    if isinstance(value, dict):
        kept = {"verdict", "head", "batch_normalization"}
        named = "outputs", "reads", "rules"
        return {
            key: item
            if key in kept
            else {
                everywhere(name, hostile): everywhere(each, hostile) for name, each in item.items()
            }
            if key in named and isinstance(item, dict)
            else everywhere(item, hostile)
            for key, item in value.items()
        }
    return [everywhere(item, hostile) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_whatever_a_file_calls_its_parts_it_is_text_in_the_page(
    converted: Converted, hostile: str
) -> None:
    for report in (converted().report, failed(converted().report), converted(OPERATORS).report):
        html = render(everywhere(report, hostile), f"x = {hostile!r}\n# {hostile}\n")
        found = Page(html)
        assert found.elements <= page(report).elements | SPANS
        html.encode("utf-8")
        assert not {"\0", "\x1b", "\u202e"} & set(html)
        if hostile.isascii() and hostile.isprintable():
            assert hostile in found.text


SPANS = {("span", ("class",)), ("span", ())}  # colours of the source


def test_a_hostile_file_becomes_a_page_of_text(tmp_path: Path) -> None:
    made = model(NET, **WEIGHTS)
    for number, node in enumerate(made.graph.node):
        node.name = f"{HOSTILE[number]}{number}"
    made.producer_name = "".join(HOSTILE[:8])
    made.graph.output[0].name = made.graph.node[-1].output[0] = "<script>alert(1)</script>"
    file = save(made, tmp_path, "<b>net.onnx")
    found = written(onnx2mvit.convert(file, tmp_path / "out", verify=False))
    assert "script" not in {tag for tag, _ in found.elements}
    assert "<b>net.onnx" in found.text
    assert "<script>alert(1)</script>" in found.text


def test_the_page_of_a_real_network_is_small(filled: Callable[[str], Path]) -> None:
    network = inspect(filled("mobilevit_xs"))
    report = json.loads(json.dumps(describe(network)))
    report |= {"single_operators": [], "verification": None}
    report["model"] = {"name": "xs", "parameters": 1, "trainable_parameters": 1, "head": "keep"}
    report["model"] |= {"layout_transposes": 0}
    report["sizes"] = {"traced": [256, 256], "proven": [], "by_rule": "any", "file_elsewhere": None}
    assert len(render(report, "x = 1\n" * 250)) < 400_000


def test_all_that_the_page_is_made_of_is_installed() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    folders = {path.parent for path in (ROOT / "onnx2mvit").rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert packages <= set(setup["setuptools"]["packages"])
    globs = setup["setuptools"]["package-data"]["onnx2mvit.reports.page"]
    here = ROOT / "onnx2mvit" / "reports" / "page"
    data = {path for path in here.rglob("*") if path.suffix in (".j2", ".css")}
    assert data and data <= {path for each in globs for path in here.glob(each)}
