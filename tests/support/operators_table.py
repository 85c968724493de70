"""Writes docs/operators.md, the table of the single operators, from ONNX's own tests.

python -m tests.support.operators_table
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from onnx2mvit.lowering.operators import REGISTRY
from tests.support.node_collection import cases
from tests.support.node_proof import Proof, prove

TARGET = Path(__file__).parent.parent.parent / "docs" / "operators.md"
OURS = {"Roll", "Select"}  # no operators of ONNX: what our rules make of Slice, Concat and Gather
INTRODUCTION = """\
# The single operators

Written by `python -m tests.support.operators_table`, which runs every test that ONNX has for an
operator in float32 (`onnx.backend.test`), and held against those tests by
`tests/lowering/test_node_cases.py`. What no pattern takes is converted by these, one by one.

A case is a model of one operator, of what an operator that is a function is made of
(`…_expanded`), or of a few that PyTorch once exported. It goes the way of a file, without any
pattern and with all of them, in the newest of the opsets 11 to 25 that has its operator and in
older ones that have another version of it; what the older version answers is onnxruntime's word
where it may differ. Each is run with all float tensors computed, and with each of them computed
by itself while the others stand in the file. It *passes* if every form that is converted gives
what ONNX expects (floats to a relative 1e-3, as ONNX has it, all else exactly), and at least one
is. *Any batch* are those of the passed whose first axis may as well be a batch of any size: they
were run with all images twice over and with one alone. A wrong number is a failed test, never a
refusal.

*Becomes* lists the layers and functions of Keras that were in the code of the passed cases; where
there is none, axes are renamed or counted and no data moves. Where there is no version, rules
bring the operator to another one ([`rules.md`](rules.md)).
"""
HEAD = "| operator | versions | becomes | passed | any batch | refused |\n|---|---|---|--:|--:|--:|"
REFUSED = "| operator | reason | cases |\n|---|---|---|"


@dataclass(frozen=True)
class Page:
    """The rows of docs/operators.md, and the line on functions that are no operators here."""

    rows: list[str]
    refusals: list[str]
    bodies: str

    def text(self) -> str:
        """All of it; the totals are sums of the rows."""
        counts = [[int(cell) for cell in row.split("|")[-4:-1]] for row in self.rows]
        passed, any_batch, refused = (sum(column) for column in zip(*counts, strict=True))
        totals = (
            f"{len(self.rows)} operators, {passed + refused} cases: {passed} passed "
            f"({any_batch} of them for any batch), {refused} refused, none wrong."
        )
        parts = [
            INTRODUCTION,
            f"{totals} {self.bodies}\n",
            "## What is converted\n",
            "\n".join([HEAD, *self.rows]) + "\n",
            "## What is refused\n",
            "\n".join([REFUSED, *self.refusals]),
        ]
        return "\n".join(parts) + "\n"

    @staticmethod
    def read() -> Page:
        """The page as it is."""
        text = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        rows = re.findall(r"^\| `.*$", text, re.MULTILINE)
        sort = [row for row in rows if row.count("|") == 7]
        bodies = re.search(r"none wrong\. (.*)$", text, re.MULTILINE)
        return Page(sort, [row for row in rows if row not in sort], bodies[1] if bodies else "")

    def operators(self) -> list[str]:
        """The operators in the table."""
        return [row.split("`")[1] for row in self.rows]

    def of(self, operator: str) -> tuple[list[str], list[str]]:
        """What it says of one operator."""
        start = f"| `{operator}` |"
        rows, refusals = (
            [line for line in lines if line.startswith(start)]
            for lines in (self.rows, self.refusals)
        )
        return rows, refusals


def claimed() -> set[str]:
    """The operators of ONNX that have a converter."""
    return {name for name, _ in REGISTRY} - OURS


def row(proof: Proof) -> str:
    """The operator's line in the table."""
    versions = sorted(since for name, since in REGISTRY if name == proof.operator)
    becomes = ", ".join(f"`{name}`" for name in sorted(proof.becomes))
    numbers = (len(proof.passed), len(proof.any_batch), len(proof.refused))
    cells = [f"`{proof.operator}`", ", ".join(map(str, versions)), becomes, *map(str, numbers)]
    return f"| {' | '.join(cells)} |"


def refusals(proof: Proof) -> list[str]:
    """The lines for the refused cases, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for name, reason in proof.refused.items():
        reasons.setdefault(" ".join(reason.replace("|", "\\|").split()), []).append(name)
    return [
        f"| `{proof.operator}` | {reason} | {', '.join(sorted(names))} |"
        for reason, names in sorted(reasons.items())
    ]


def proof_of(operator: str) -> Proof:
    """The proof of an operator; the bodies of functions count where these have a converter."""
    return prove(operator, bodies=None if operator in claimed() else False)


def bodies() -> tuple[str, dict[str, str]]:
    """A line on the functions that have no converter themselves, and what failed."""
    passed, refused = 0, 0
    failed: dict[str, str] = {}
    for operator in sorted(cases().keys() - claimed()):
        proof = prove(operator, bodies=True)
        passed, refused = passed + len(proof.passed), refused + len(proof.refused)
        failed |= proof.failed
    line = (
        "Of the bodies of functions that have no converter of their own, "
        f"{passed} pass and {refused} hold an operator that is refused."
    )
    return line, failed


def page() -> Page:
    """The page as it should be; an error if something is wrong."""
    line, wrong = bodies()
    proofs = [proof_of(name) for name in sorted(claimed() | cases().keys())]
    for proof in proofs:
        wrong |= proof.failed
    if wrong:
        sys.exit("\n".join(f"{name}: {message}" for name, message in wrong.items()))
    shown = [proof for proof in proofs if proof.passed or proof.operator in claimed()]
    lines = [line for proof in shown for line in refusals(proof)]
    return Page([row(proof) for proof in shown], lines, line)


if __name__ == "__main__":
    TARGET.write_text(page().text(), encoding="utf-8")
