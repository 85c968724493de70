"""Writes the table of docs/networks.md: every export in `exported_onnx/skeletons`, converted.

python -m tests.support.networks_table [NAME…]

A row is a network, whichever exporter wrote its files: the smallest share of nodes in blocks, the
largest error, and the most lines and CPU seconds of any of them. With names only these are
converted, and their rows are printed.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx2mvit
from onnx2mvit.base.backend import import_keras
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support import page_tables, skeletons

PAGE = page_tables.DOCS / "networks.md"
HEAD = (
    "| network | exports | blocks | paper | nodes in blocks | error | lines | CPU s |\n"
    "|---|--:|---|---|--:|--:|--:|--:|"
)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
SHOWN = 4  # kinds of block that a row names


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
    return page_tables.row(
        network,
        str(len(exports)),
        ", ".join(f"`{kind}`" for kind in kinds[:SHOWN]),
        papers(kinds[:SHOWN]),
        f"{100 * min(shares):.0f} %",
        f"{error:.1e}",
        str(max(lines for _, lines, _ in made)),
        f"{max(seconds for *_, seconds in made):.0f}",
    )


def papers(kinds: Iterable[str]) -> str:
    """The paper that each kind of block is from, the first that it names."""
    return ", ".join(dict.fromkeys(PAPERS[kind][0] for kind in kinds))


def converted(path: Path, folder: Path) -> tuple[dict[str, Any], int, float]:
    """The report on a filled export, the lines of its module, and the CPU seconds it took.

    That is the time of this process, in which Keras is there already: what else the machine does
    is not in it.
    """
    file = skeletons.fill(path, folder)
    import_keras().backend.clear_session()
    start = time.process_time()
    result = onnx2mvit.convert(file, folder, name="net", inputs=2)
    seconds = time.process_time() - start
    if result.report["verification"]["verdict"] != "passed":
        raise SystemExit(f"{path.name} is not proven: see {result.report['verification']}")
    module = result.folder / "net.py"
    return result.report, len(module.read_text("utf-8").splitlines()), seconds


def kinds_of(blocks: list[dict[str, Any]]) -> Iterator[str]:
    """The kinds of blocks that a paper is about, as far out as they stand."""
    for block in blocks:
        if PAPERS.get(block["kind"]):
            yield block["kind"]
        else:
            yield from kinds_of(block["children"])


def families() -> dict[str, set[str]]:
    """The kinds of block of each file in `patterns/` that is about a paper, by its name.

    Its first paragraph names the paper, and a block of it is a model in the model; what has none
    is a part of other blocks.
    """
    found: dict[str, set[str]] = {}
    for pattern in builtin_patterns():
        module = inspect.getmodule(type(pattern))
        if module is not None and ARXIV.search((module.__doc__ or "").partition("\n\n")[0]):
            found.setdefault(module.__name__.rpartition(".")[2], set()).add(pattern.kind)
    models = {pattern.kind for pattern in builtin_patterns() if pattern.nested}
    return {family: kinds for family, kinds in found.items() if kinds & models}


def _papers() -> dict[str, list[str]]:
    """The papers that each kind of block names, or the first paragraph of its file.

    Layers, as batch normalization, are in networks of all papers and have none.
    """
    found: dict[str, list[str]] = {}
    for pattern in builtin_patterns():
        if pattern.is_leaf:
            found[pattern.kind] = []
            continue
        module = inspect.getmodule(type(pattern))
        first = ((module and module.__doc__) or "").partition("\n\n")[0]
        found[pattern.kind] = ARXIV.findall(type(pattern).__doc__ or "") or ARXIV.findall(first)
    return found


PAPERS = _papers()


if __name__ == "__main__":
    asked = sys.argv[1:]
    page_tables.require(PAGE, HEAD)
    rows = []
    print(HEAD)
    for network, exports in networks().items():
        if not asked or network in asked:
            rows.append(row(network, exports))
            print(rows[-1], flush=True)
    if not asked:
        page_tables.write(PAGE, HEAD, rows)
