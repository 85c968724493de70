"""What is compared of a network that was cut: the same tensors of the file."""

import json
from pathlib import Path

import onnx2mvit
from tests.reader.test_cut import detector
from tests.support.command_line import Run


def test_a_cut_is_known_to_report_verify_and_deploy(run: Run, tmp_path: Path) -> None:
    path = detector(tmp_path)
    done = run("convert", path, "-o", tmp_path, "--inputs", "2", "--outputs", "scores", "boxes")
    assert done.code == 0 and "passed" in done.out
    folder = tmp_path / "detector"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["onnx"]["outputs"] == ["scores", "boxes"]
    assert list(report["connections"]["outputs"]) == ["scores", "boxes"]
    assert "cut at scores, boxes" in (folder / "report.html").read_text(encoding="utf-8")
    assert "Cut at: scores, boxes" in (folder / "detector.py").read_text(encoding="utf-8")
    assert onnx2mvit.verify(path, folder, inputs=2).passed
    deployed = onnx2mvit.deploy(folder, tmp_path / "out", format="saved_model", inputs=2)
    assert deployed.report["comparison"]["against"] == "onnxruntime on detector.onnx"
