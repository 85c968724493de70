"""Writes README.md's table of networks: every export in `exported_onnx/skeletons`, converted.

python -m tests.support.networks_table [NAME…]

A row is a network, whichever exporter wrote its files: the smallest share of nodes in blocks, the
largest error, and the most lines and seconds of any of them. With names only these are converted,
and their rows are printed.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx2mvit.matcher.registry import builtin_patterns
from tests.support import skeletons

README = Path(__file__).parent.parent.parent / "README.md"
HEAD = (
    "| network | exports | blocks | paper | nodes in blocks | error | lines | seconds |\n"
    "|---|--:|---|---|--:|--:|--:|--:|"
)
ROWS = re.compile(re.escape(HEAD) + r"\n(?:\|.*\n)*")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
SHOWN = 4  # kinds of block, and papers, that a row names


def networks() -> dict[str, list[Path]]:
    """The exports of each network, whichever exporter wrote them."""
    found: dict[str, list[Path]] = {}
    for path in sorted(skeletons.FOLDER.glob("*.onnx.xz")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found


def row(network: str, exports: list[Path]) -> str:
    """The network's row, after each of its exports was converted as a user does it."""
    with tempfile.TemporaryDirectory() as folder:
        made = [converted(path, Path(folder)) for path in exports]
    kinds = list(dict.fromkeys(kind for report, *_ in made for kind in kinds_of(report["blocks"])))
    shares = [report["coverage"]["in_blocks"] / report["coverage"]["nodes"] for report, *_ in made]
    error = max(report["verification"]["max_rel_error"] for report, *_ in made)
    cells = (
        network,
        str(len(exports)),
        ", ".join(f"`{kind}`" for kind in kinds[:SHOWN]),
        ", ".join(list(dict.fromkeys(paper for kind in kinds for paper in PAPERS[kind]))[:SHOWN]),
        f"{100 * min(shares):.0f} %",
        f"{error:.1e}",
        str(max(lines for _, lines, _ in made)),
        f"{max(seconds for *_, seconds in made):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def converted(path: Path, folder: Path) -> tuple[dict[str, Any], int, float]:
    """The report on a filled export, the lines of its module, and the seconds of the process."""
    file = skeletons.fill(path, folder)
    command = ("convert", str(file), "-o", str(folder), "--name", "net", "--quiet")
    start = time.perf_counter()
    subprocess.run((sys.executable, "-m", "onnx2mvit", *command), check=True)
    seconds = time.perf_counter() - start
    report = json.loads((folder / "net" / "report.json").read_text(encoding="utf-8"))
    return report, len((folder / "net" / "net.py").read_text("utf-8").splitlines()), seconds


def kinds_of(blocks: list[dict[str, Any]]) -> Iterator[str]:
    """The kinds of blocks that a paper is about, as far out as they stand."""
    for block in blocks:
        if PAPERS.get(block["kind"]):
            yield block["kind"]
        else:
            yield from kinds_of(block["children"])


def _papers() -> dict[str, list[str]]:
    """The papers that each kind of block names, or the first paragraph of its file."""
    found = {}
    for pattern in builtin_patterns():
        module = inspect.getmodule(type(pattern))
        first = ((module and module.__doc__) or "").partition("\n\n")[0]
        found[pattern.kind] = ARXIV.findall(type(pattern).__doc__ or "") or ARXIV.findall(first)
    return found


PAPERS = _papers()


if __name__ == "__main__":
    asked, text = sys.argv[1:], README.read_text(encoding="utf-8")
    if not asked and not ROWS.search(text):
        raise SystemExit(f"{README} has no table with the head that is written here")
    rows = [
        row(network, exports)
        for network, exports in networks().items()
        if not asked or network in asked
    ]
    print(HEAD, *rows, sep="\n")
    if not asked:
        README.write_text(ROWS.sub("\n".join((HEAD, *rows, "")), text), encoding="utf-8")
