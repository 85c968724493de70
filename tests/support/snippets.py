"""The snippets of the documentation, and how they are run.

A snippet is a fenced block of `python`, `sh` or `console`. What is special of it, a comment before
it says:

    <!-- not run: REASON -->    it is left alone
    <!-- slow: REASON -->       it is run by `make test-all`
    <!-- file NAME -->          it is a file of that name
    <!-- in FILE -->            its lines are in that file, in this order; `...` is what is left out
    <!-- exit code N -->        its commands end with N
    <!-- needs EXTRA -->        where what this extra brings is not installed, its commands end with
                                6 and say so, and its code is left out

`needs EXTRA` may stand before another, with a semicolon between them.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.command_line import Run

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs"
SNIPPET = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^(?P<indent> *)```(?P<language>python|sh|console)\n"
    r"(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(
    r"(?:needs (?P<needs>[\w-]+)(?:; |$))?"
    r"(?P<rest>(?:not run|slow): \S.*|file \S+|in \S+|exit code \d+|)"
)
# What shows whether an extra is installed.
MODULES = {"tensorflow": "tensorflow", "deploy": "ai_edge_litert", "openvino": "openvino"}


@dataclass(frozen=True)
class Snippet:
    """A block of a page, the line that it begins at, and what the comment before it says."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    needs: str = ""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.name}:{self.line}"

    @property
    def left_alone(self) -> bool:
        """Whether it says why it is not run."""
        return self.mark.startswith("not run: ")

    @property
    def slow(self) -> bool:
        """Whether it says why it is run by `make test-all` alone."""
        return self.mark.startswith("slow: ")

    @property
    def lacks(self) -> bool:
        """Whether what it needs is not installed."""
        return bool(self.needs) and find_spec(MODULES[self.needs]) is None


def snippets(page: Path) -> list[Snippet]:
    """The snippets of a page, in order.

    Raises:
        ValueError: a comment is none of those above.
    """
    text, found = page.read_text(encoding="utf-8"), []
    for match in SNIPPET.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        code = textwrap.dedent(match["text"])
        said = (match["mark"] or "").strip()
        mark = MARK.fullmatch(said)
        if not mark or mark["needs"] not in (None, *MODULES):
            raise ValueError(f"{page.name}:{line}: {said!r} says nothing of a snippet")
        parts = mark["rest"], mark["needs"] or ""
        found.append(Snippet(page, line, match["language"], code, *parts))
    return found


def run_snippet(snippet: Snippet, namespace: dict[str, Any], run: Run) -> None:
    """Runs a snippet in the folder that is the current one."""
    kind, _, what = snippet.mark.partition(" ")
    if kind == "file":
        Path(what).write_text(snippet.text, encoding="utf-8")
    elif kind == "in":
        require_lines(snippet, what)
    elif snippet.language == "python":
        if snippet.lacks:
            return
        code = compile("\n" * snippet.line + snippet.text, str(snippet.page), "exec")
        exec(code, namespace)
    else:
        expected = int(what.removeprefix("code ")) if kind == "exit" else 0
        if snippet.lacks:
            require_refused(snippet, run)
            return
        for command, shown in commands(snippet):
            program, *arguments = shlex.split(command, comments=True)
            assert program == "onnx2mvit", f"{snippet.place}: {program} is not run by a test"
            ran = run(*arguments)
            assert ran.code == expected, f"{snippet.place}: {command}\n{ran.out}{ran.err}"
            require_shown(snippet, shown, ran.out + ran.err)


def require_refused(snippet: Snippet, run: Run) -> None:
    """Its commands end with 6 and one line, which names the extra."""
    for command, _ in commands(snippet):
        ran = run(*shlex.split(command, comments=True)[1:])
        assert ran.code == 6, f"{snippet.place}: {command}\n{ran.out}{ran.err}"
        assert re.search(rf"onnx2mvit\[.*\b{snippet.needs}\b.*\]", ran.err.splitlines()[-1])
        assert ran.err.count("error: ") == 1


def commands(snippet: Snippet) -> list[tuple[str, list[str]]]:
    """Each command, and the lines that are shown of what it prints."""
    lines = [line for line in snippet.text.splitlines() if line.strip()]
    if snippet.language == "sh":
        return [(line, []) for line in lines]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def require_shown(snippet: Snippet, shown: list[str], printed: str) -> None:
    """Lines that are shown are in what was printed, in this order; `…` is what is left out."""
    pattern = r"[^\n]*\n(?:.*\n)?".join(
        r"[^\n]*".join(map(re.escape, line.split("…"))) for line in shown
    )
    assert re.search(pattern, printed, re.DOTALL), f"{snippet.place}\n{printed}"


def require_lines(snippet: Snippet, file: str) -> None:
    """The lines of an excerpt are in its file, in this order."""
    path = Path(file) if Path(file).exists() else ROOT / file
    there = map(str.strip, path.read_text(encoding="utf-8").splitlines())
    for line in snippet.text.splitlines():
        if line.strip() not in ("", "..."):
            assert line.strip() in there, (
                f"{snippet.place}: {line!r} is not in {file}, or not there"
            )
