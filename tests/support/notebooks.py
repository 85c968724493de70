"""The notebooks: each is a script in notebooks/, and the .ipynb beside it is made from that.

`python -m tests.support.notebooks` runs them all in clean kernels and keeps what they showed.
A cell begins at `# %%`, one of text at `# %% [markdown]`.
"""

import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, where there is no widget
}
PHOTOGRAPHS = "--InlineBackend.figure_formats=jpeg"  # a tenth of the size


def notebook(script: Path) -> NotebookNode:
    """The notebook of a script, not yet run."""
    _, *parts = MARK.split(script.read_text(encoding="utf-8"))
    cells = []
    for number, (markdown, text) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        if markdown:
            prose = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.split("\n"))
            cell = new_markdown_cell(prose.strip())
        else:
            cell = new_code_cell(text.strip())
        cell.id = f"{script.stem}-{number}"
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made: NotebookNode = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return made


def run(made: NotebookNode) -> NotebookNode:
    """The same with what its cells showed, run from the top in a kernel of its own."""
    client = NotebookClient(
        made,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,
        extra_arguments=[PHOTOGRAPHS],
    )
    environment = {**os.environ, **ENVIRONMENT}
    ran: NotebookNode = client.execute(env=environment)
    return ran


def shown(ran: NotebookNode) -> str:
    """All that the cells of a notebook printed."""
    return "".join(
        output.get("text", "")
        for cell in ran.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


def main() -> None:
    for script in SCRIPTS:
        ran = run(notebook(script))
        for cell in ran.cells:
            cell.metadata.pop("execution", None)  # the times of day
            if "outputs" in cell:  # without what TensorFlow and the quantizer log
                cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
        nbformat.write(ran, script.with_suffix(".ipynb"))
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
