"""What the documentation site has beside docs/*.md: the sources they link to, and the patterns.

MkDocs calls the functions by their names (`hooks` of mkdocs.yml), as in `make docs`.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from benchmarks import history
from onnx2mvit.cli.patterns import row, shown
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.pattern_picture import picture

ROOT = Path(__file__).parent.parent.parent
OUTSIDE = re.compile(r"\]\((?:\.\./)+((?:onnx2mvit|patterns|tests|notebooks|keras_out)/[\w./]+)\)")
NEEDS = re.compile(r"^<!-- needs ([\w-]+).*-->\n", re.MULTILINE)  # of tests/support/snippets.py
BAR = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")  # in a cell; Python-Markdown shows the backslash
PICTURES = "pictures"
PATTERNS = """\
# The patterns

Written by `make docs` from `patterns/`, as `onnx2mvit patterns` and `onnx2mvit patterns KIND` show
them, in the order in which they are applied. A *leaf* is a layer, a *model* is a block that Keras
shows as a model in the model. In a picture the input is on top; dashed is what may be absent, and
several forms of the same end in one `or`.
[How one is written](adding_a_block.md).

| pattern | is | becomes | arXiv |
|---|---|---|---|
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each source that a page links to, and those that are generated."""
    linked = {
        path
        for file in files.documentation_pages()
        for path in OUTSIDE.findall(file.content_string)
    }
    pages = {source_page(path): source(path) for path in sorted(linked)}
    for name, text in ({"patterns.md": patterns(), "history.md": history.page()} | pages).items():
        files.append(File.generated(config, name, content=text))
    for pattern in builtin_patterns():
        name = f"{PICTURES}/{pattern.kind}.svg"
        files.append(File.generated(config, name, content=picture(pattern)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to sources into links to their pages, and writes bars in cells as HTML has it.

    What a snippet needs, which a comment before it says, is shown.
    """
    up = "../" * page.file.src_uri.count("/")
    markdown = NEEDS.sub(r"*With the extra `\1`:*\n\n", markdown)
    markdown = OUTSIDE.sub(lambda link: f"]({up}{source_page(link[1])})", markdown)
    return BAR.sub(lambda code: f"<code>{bars(code[1])}</code>", markdown)


def bars(code: str) -> str:
    """Code of a cell as HTML, in which no bar ends the cell."""
    return escape(code.replace("\\|", "|")).replace("|", "&#124;")


def source_page(path: str) -> str:
    """The page that shows a source."""
    return f"source/{path}.md"


def source(path: str) -> str:
    """A source as a page that search leaves out."""
    text = (ROOT / path).read_text(encoding="utf-8")
    head = f"---\nsearch:\n  exclude: true\n---\n# {path}\n"
    return f"{head}\n````python\n{text}\n````\n"


def patterns() -> str:
    """The page of patterns: a table, and each block as ONNX and Keras have it."""
    rows, parts = [], []
    for pattern in builtin_patterns():
        cells = row(pattern)
        kind = f"[`{pattern.kind}`](#{pattern.kind.lower()})"
        papers = ", ".join(f"[{each}](https://arxiv.org/abs/{each})" for each in cells["papers"])
        rows.append(f"| {kind} | {cells['is']} | `{cells['becomes']}` | {papers} |\n")
        drawn = f"![{pattern.kind} in ONNX]({PICTURES}/{pattern.kind}.svg)"
        text = "\n".join(shown(pattern))
        parts.append(f"## {pattern.kind}\n\n{drawn}\n\n````python\n{text}\n````\n")
    return PATTERNS + "".join(rows) + "\n" + "\n".join(parts)
