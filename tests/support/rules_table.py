"""Writes docs/rules.md, the table of the rules, from their docstrings.

python -m tests.support.rules_table
"""

import inspect
from pathlib import Path

from onnx2mvit.matcher.rule import Rule
from onnx2mvit.reader.rules import all_rules

ROOT = Path(__file__).parent.parent.parent
TARGET = ROOT / "docs" / "rules.md"
INTRODUCTION = """\
# The rules that bring exporters' spellings to one

Written by `python -m tests.support.rules_table` from `onnx2mvit/reader/rules`, and from
`patterns/` what one family alone needs. The rules are
applied in this order, again and again until none has anything to do; patterns see the result.
`Select(x, axis, index)`, `Slice` with its bounds as attributes, and `Reshape` and `Resize` that go
by the shape of their output are ours: all shapes are concrete when they are written.
"""


def parts(rule: Rule) -> tuple[str, str, str]:
    """What a rule is for, what stands before, and what after."""
    text = inspect.getdoc(type(rule)) or ""
    why, _, change = text.partition("\n\n")
    before, arrow, after = change.partition("→")
    assert arrow, f"the docstring of {rule.name} shows no before → after"
    return flat(why), flat(before), flat(after)


def flat(text: str) -> str:
    return " ".join(text.split())


def code(text: str) -> str:
    """As code in a table, where a bar would end the cell."""
    return f"`{text}`".replace("|", "\\|")


def where_tested() -> dict[str, list[str]]:
    """The files in which each rule is tested, by the lists that they keep."""
    found: dict[str, list[str]] = {rule.name: [] for rule in all_rules()}
    for file in sorted((ROOT / "tests" / "reader").glob("test_rules*.py")):
        text = file.read_text(encoding="utf-8")
        listed = text.partition("COVERS = {")[2].partition("}")[0].replace(",", " ").split()
        for name in (entry.strip('"') for entry in listed):
            found[name].append(file.name)
    return found


def table() -> str:
    where = where_tested()
    lines = [
        INTRODUCTION,
        "| rule | before | after | who needs it | tested in |",
        "|---|" + "---|" * 4,
    ]
    for rule in all_rules():
        why, before, after = parts(rule)
        files = ", ".join(f"`tests/reader/{file}`" for file in where[rule.name])
        lines.append(
            f"| **{rule.name}**: {why} | {code(before)} | {code(after)} "
            f"| {rule.needed_by} | {files} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(table(), encoding="utf-8")
