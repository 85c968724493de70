"""`onnx2mvit benchmark`: the three runtimes answer alike before they are timed against another."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import benchmarks as measuring
from onnx2mvit import convert
from onnx2mvit.cli.benchmark import batches_of
from onnx2mvit.errors import (
    MissingDependencyError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from onnx2mvit.runtimes import Inputs, LiteRTRunner, Outputs, has_openvino
from onnx2mvit.runtimes.onnxruntime_runner import unfused_batch_norms
from tests.support.command_line import Run, exit_code
from tests.support.graphs import model, save

pytest.importorskip("psutil")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.xdist_group("benchmark")

NET = """g (float[N,3,32,32] x) => (float[N,4,32,32] y, float[N,4,16,16] z) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)
    z = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (y)
}"""
RUNTIMES = ["onnxruntime", "onnxruntime, ONNX of deploy", "Keras, tf.function", "LiteRT float32"]
RUNTIMES += ["OpenVINO float32"] if has_openvino() else []


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small ONNX file of two outputs, and the folder that it was converted to."""
    folder = tmp_path_factory.mktemp("benchmark")
    path = save(model(NET, w=(4, 3, 1, 1), b=(4,)), folder, "net.onnx")
    return path, convert(path, folder, verify=False).folder


def test_every_runtime_is_timed_at_every_batch(network: tuple[Path, Path]) -> None:
    result = measuring.benchmark(*network, batches=(1, 2), rounds=2, warm_up=1, timed=3)
    assert [(row.batch, row.runtime) for row in result.rows] == [
        (batch, name) for batch in (1, 2) for name in RUNTIMES
    ]
    for row in result.rows:
        assert row.milliseconds > 0
        assert 0 < row.ratio.least <= row.ratio.median <= row.ratio.greatest
        assert row.max_rel_error < 1e-5
        assert 0 <= row.others <= 1
        if row.runtime == "onnxruntime":
            assert row.ratio.greatest == 1
    assert result.image_size == (32, 32)
    assert result.peak_memory_mb > 50


def test_a_runtime_that_answers_wrongly_is_not_timed(
    network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = LiteRTRunner.__call__

    def wrong(self: LiteRTRunner, inputs: Inputs) -> Outputs:
        return {name: array * np.nan for name, array in answer(self, inputs).items()}

    monkeypatch.setattr(LiteRTRunner, "__call__", wrong)
    with pytest.raises(VerificationError, match="LiteRT float32 differs from onnxruntime by nan"):
        measuring.benchmark(*network, batches=(1,), rounds=1)


def test_what_cannot_be_written_is_left_out_and_that_is_said(
    network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> list[str]:
        raise UnsupportedError("no operator of ONNX does that")

    monkeypatch.setattr("onnx2mvit.benchmarks.contenders.write_onnx", refused)
    result = measuring.benchmark(*network, batches=(1,), rounds=1, warm_up=1, timed=1)
    assert [row.runtime for row in result.rows] == [
        name for name in RUNTIMES if name in ("onnxruntime", "Keras, tf.function", "LiteRT float32")
    ]
    (note,) = result.notes
    assert "left out" in note and "no operator of ONNX does that" in note


def test_a_runtime_that_cannot_read_its_file_is_left_out_and_that_is_said(
    network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise UnsupportedError("it has no such operator")

    monkeypatch.setattr("onnx2mvit.benchmarks.contenders.LiteRTRunner", refused)
    result = measuring.benchmark(*network, batches=(1,), rounds=1, warm_up=1, timed=1)
    assert "LiteRT float32" not in [row.runtime for row in result.rows]
    assert result.notes == ["LiteRT float32 left out: it has no such operator"]


def test_the_table_goes_to_stdout_and_the_figures_to_the_file(
    network: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--batch", 2, "--rounds", 1, "--json", tmp_path / "b.json")
    assert exit_code("benchmark", *network, *arguments) == 0
    written = json.loads((tmp_path / "b.json").read_text())
    assert [row["runtime"] for row in written["rows"]] == RUNTIMES
    shown = capsys.readouterr().out
    for row in written["rows"]:
        assert row["runtime"] in shown
        assert f"{row['milliseconds']:.1f}" in shown


@pytest.mark.parametrize(("share", "warned"), [(0.5, True), (0.01, False)])
def test_a_busy_machine_is_warned_of(
    share: float,
    warned: bool,
    network: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(*_: object, **__: object) -> measuring.Benchmark:
        return measuring.Benchmark(2, 1, (32, 32), [], share, None, 100.0, 0, [])

    monkeypatch.setattr(measuring, "benchmark", measured)
    assert exit_code("benchmark", *network) == 0
    assert ("warning: other processes took 50%" in capsys.readouterr().err) is warned


@pytest.mark.parametrize(
    ("nodes", "left"), [("n = Conv(x, w, b)", 0), ("c = Conv(x, w, b)  n = Sigmoid(c)", 1)]
)
def test_batch_norms_that_onnxruntime_cannot_fold_are_warned_of(
    tmp_path: Path, run: Run, nodes: str, left: int
) -> None:
    text = f"""g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{
        {nodes}  y = BatchNormalization(n, scale, shift, mean, variance) }}"""
    weights: dict[str, Any] = dict.fromkeys(("b", "scale", "shift", "mean"), (4,))
    weights |= {"w": (4, 3, 1, 1), "variance": np.ones(4, np.float32)}
    path = save(model(text, **weights), tmp_path, "net.onnx")
    assert unfused_batch_norms(path) == left
    folder = convert(path, tmp_path, verify=False).folder
    ran = run("benchmark", path, folder, "--batch", 1, "--rounds", 1)
    assert ran.code == 0
    assert ("cannot fold 1 BatchNormalization" in ran.err) is bool(left)


def test_without_litert_it_says_what_to_install(
    network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match=r"onnx2mvit\[benchmark\]"):
        measuring.benchmark(*network, batches=(1,), rounds=1)


def test_batches_are_numbers_of_images() -> None:
    assert batches_of("1,8, 32") == [1, 8, 32]
    for text in ("", "0", "1,", "many", "-1", "١"):
        with pytest.raises(UsageError, match="--batch"):
            batches_of(text)
