"""What the documentation shows of patterns and of the command line is what is there."""

import inspect
import json
import re
import textwrap
from pathlib import Path

from onnx2mvit.matcher.registry import builtin_patterns
from tests.support import commands_page
from tests.support.command_line import Run

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "adding_a_block.md").read_text(encoding="utf-8")


def excerpts(page: str) -> list[str]:
    return [textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]


def test_the_pattern_on_the_page_is_the_pattern() -> None:
    (pattern,) = [each for each in builtin_patterns() if each.kind == "RepVGGBlock"]
    source = textwrap.dedent(inspect.getsource(type(pattern).onnx))
    assert source in excerpts(PAGE)


def test_what_the_page_shows_of_params_and_of_the_function_is_in_the_file() -> None:
    lines = (ROOT / "patterns" / "repvgg.py").read_text(encoding="utf-8").splitlines()
    there = {line.strip() for line in lines}
    shown = [code for code in excerpts(PAGE) if code.startswith(("def params", "def repvgg_block"))]
    assert len(shown) == 2
    for line in "\n".join(shown).splitlines():
        if line.strip() not in ("", "...") and not line.startswith("def repvgg_block("):
            assert line.strip() in there, line


def test_options_and_files_that_the_page_names_exist(run: Run) -> None:
    options = run("inspect", "--help").out
    assert all(option in options for option in ("--graph", "--why", "--depth"))
    for link in re.findall(r"\]\(\.\./([\w/.]+)\)", PAGE):
        assert (ROOT / link).is_file(), link


def test_every_pattern_becomes_a_layer_or_a_function(run: Run) -> None:
    made = {told["kind"]: told["becomes"] for told in json.loads(run("patterns", "--json").out)}
    assert made["Dense"] == "layers.Dense" and made["RepVGGBlock"] == "repvgg_block(…)"
    assert made["LayerScale"] == "layer_scaled(…)"  # a weight of its own, and no layer of Keras
    assert "layers.None" not in made.values()


def test_the_page_of_commands_is_their_help(run: Run) -> None:
    page = commands_page.TARGET.read_text(encoding="utf-8")
    assert page == commands_page.page()
    for command in re.findall(r"^## onnx2mvit (\w+)$", page, re.MULTILINE):
        chapter = page.partition(f"## onnx2mvit {command}\n")[2].partition("\n## ")[0]
        options = re.findall(r"^│ +(--[\w-]+)", run(command, "--help").out, re.MULTILINE)
        assert len(options) > 2
        assert [option for option in options if option not in f"{chapter}--help"] == []


def test_the_keys_of_the_report_on_the_page_are_those_of_its_schema() -> None:
    page = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \|", page.partition("## report.json")[2], re.MULTILINE
    )
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert {key for row in rows for key in re.findall(r"\w+", row)} == set(schema["properties"])
