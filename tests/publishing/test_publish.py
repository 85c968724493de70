"""A converted network goes to a folder or a hub, whole, with a card that says what it is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnx2mvit
from onnx2mvit.errors import Onnx2mvitError, UsageError, VerificationError
from onnx2mvit.publishing import publish
from onnx2mvit.reports import report_beside
from tests.support.graphs import model, save
from tests.support.hub_stand_ins import KAGGLE_PORT, Handler, Hub, HuggingFace, Kaggle, served

NET = """g (float[N,3,32,32] pixels) => (float[N,5] scores) {
    c = Conv<strides=[2,2], pads=[1,1,1,1]>(pixels, w, b)  r = Relu(c)
    p = GlobalAveragePool(r)  f = Flatten(p)  scores = Gemm<transB=1>(f, v, d)
}"""
HOW = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2), "channels": "bgr"}
SAID = ("--license", "mit", "--weights-from", "me")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish")
    weights: dict[str, Any] = {"w": (16, 3, 3, 3), "b": (16,), "v": (5, 16), "d": (5,)}
    path = save(model(NET, **weights), folder, "net.onnx")
    result = onnx2mvit.convert(path, folder, inputs=2, preprocessing=HOW)
    assert result.passed
    return result.folder


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token of whoever runs the tests."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HOME", str(tmp_path))


def used(card: str, folder: Path) -> np.ndarray:
    """What the code in a card answers to a photograph."""
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    photo = Path(folder, "photo.jpg")
    Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)).save(photo)
    code = code.replace('folder = "."', f"folder = {str(folder)!r}")
    names: dict[str, object] = {}
    exec(code.replace('"photo.jpg"', repr(str(photo))), names)
    answers = names["answers"]
    if isinstance(answers, dict):
        (answers,) = answers.values()
    return np.asarray(answers).reshape(5)


def test_a_folder_has_the_files_and_a_card_whose_code_runs(converted: Path, tmp_path: Path) -> None:
    made = publish(converted, tmp_path / "net", license="mit", weights_from="me, on X")
    there = {path.name for path in (tmp_path / "net").iterdir()}
    assert there == made.files.keys() == {
        "README.md", "report.html", "report.json", "net.keras", "net.py", "net.safetensors",
    }  # fmt: skip
    assert "folder" in report_beside(converted)["onnx"]  # of a disk that is nobody's business
    assert "folder" not in report_beside(tmp_path / "net")["onnx"]
    card = (tmp_path / "net" / "README.md").read_text(encoding="utf-8")
    assert card == made.card and made.published
    header = card.split("---\n")[1]
    assert 'license: "mit"' in header and 'pipeline_tag: "image-classification"' in header
    assert "BGR" in card and "me, on X" in card and "`net.onnx`" in card
    answer = used(card, tmp_path / "net")
    onnx = publish(converted, tmp_path / "onnx", format="onnx")
    np.testing.assert_allclose(used(onnx.card, tmp_path / "onnx"), answer, rtol=1e-4, atol=1e-5)
    saved = publish(converted, tmp_path / "saved", format="saved_model")
    np.testing.assert_allclose(used(saved.card, tmp_path / "saved"), answer, rtol=1e-4, atol=1e-5)
    lite = publish(converted, tmp_path / "lite", format="litert")
    np.testing.assert_allclose(used(lite.card, tmp_path / "lite"), answer, rtol=1e-4, atol=1e-5)


def test_the_card_of_an_openvino_file_says_in_which_precision_it_computes(
    converted: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    made = publish(converted, tmp_path / "ov", format="openvino")
    assert {"net.xml", "net.bin"} <= made.files.keys()
    onnx = publish(converted, tmp_path / "onnx", format="onnx")
    answer = used(onnx.card, tmp_path / "onnx")
    np.testing.assert_allclose(used(made.card, tmp_path / "ov"), answer, rtol=1e-4, atol=1e-5)


def test_a_preset_of_kerashub_lies_where_the_hubs_look_for_it(
    converted: Path, tmp_path: Path
) -> None:
    pytest.importorskip("keras_hub", reason="needs the extra keras-hub")
    made = publish(converted, tmp_path / "net", format="keras_hub")
    assert {"README.md", "config.json", "metadata.json"} <= made.files.keys()
    plain = publish(converted, tmp_path / "keras")
    ours = used(made.card, tmp_path / "net")
    np.testing.assert_allclose(ours, used(plain.card, tmp_path / "keras"), rtol=1e-4, atol=1e-5)


def test_a_dry_run_writes_nothing(converted: Path, tmp_path: Path) -> None:
    made = publish(converted, tmp_path / "net", dry_run=True)
    assert not (tmp_path / "net").exists() and not made.published
    made = publish(converted, "hf://me/net", dry_run=True)
    assert made.url == "https://huggingface.co/me/net" and "snapshot_download" in made.card


def test_an_accuracy_that_was_measured_is_in_the_card(converted: Path, tmp_path: Path) -> None:
    there = tmp_path / "net"
    shutil.copytree(converted, there)
    report = json.loads((there / "report.json").read_text(encoding="utf-8"))
    row = {"name": "net.onnx", "top1": 0.75, "top5": None, "agreement": None}
    report["evaluation"] = {
        "images": 1000, "reference": "net.onnx", "data": {"folder": "val"}, "targets": [row],
    }  # fmt: skip
    (there / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert "| `net.onnx` | 75.00% | – | – |" in publish(there, "x", dry_run=True).card


@pytest.mark.parametrize(
    ("change", "says", "error"),
    [
        (lambda report: report.update(verification=None), "without a proof", UsageError),
        (lambda report: report["verification"].update(verdict="failed"), "differs",
         VerificationError),
        (lambda report: report.update(hard_activations={"layers": 3}), "hard swish", UsageError),
    ],
)  # fmt: skip
def test_what_was_not_proven_is_not_published(
    converted: Path, tmp_path: Path, change: object, says: str, error: type[Exception]
) -> None:
    assert callable(change)
    shutil.copytree(converted, tmp_path / "net")
    report = json.loads((tmp_path / "net" / "report.json").read_text(encoding="utf-8"))
    change(report)
    (tmp_path / "net" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(error, match=says):
        publish(tmp_path / "net", tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("s3://me/net", "is no place to publish"),
        ("hf://net", "hf://USER/NAME"),
        ("hf://me/ne t", "is no place to publish"),
        ("kaggle://me/net", "kaggle://USER/MODEL/FRAMEWORK/VARIATION"),
        ("kaggle://me/net/tfLite/x", "is called keras on Kaggle"),
        ("hf://me/net", "needs --license and --weights-from"),
    ],
)
def test_an_address_that_makes_no_sense(converted: Path, to: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        publish(converted, to)


@pytest.mark.parametrize("to", ["hf://me/net", "kaggle://me/net/keras/small"])
def test_without_a_token_nothing_is_asked_of_a_hub(converted: Path, to: str) -> None:
    with pytest.raises(Onnx2mvitError, match="there is no token of yours here"):
        publish(converted, to, private=True)


def uploaded(converted: Path, handler: type[Handler], hub: Hub, *options: str) -> tuple[int, str]:
    """How the command ends on a stand-in, and what it says."""
    if handler is HuggingFace:
        to, env = "hf://me/net", {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_x"}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_ENABLE_HF_TRANSFER": "0"}
    else:
        to = "kaggle://me/net/keras/small"
        env = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLE_API_TOKEN": "x"}
    # The hubs' packages read their settings when they are imported.
    command = [sys.executable, "-m", "onnx2mvit", "publish", str(converted), "--to", to, *options]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.xdist_group("kaggle")
@pytest.mark.parametrize(("handler", "port"), [(HuggingFace, 0), (Kaggle, KAGGLE_PORT)])
def test_a_hub_gets_all_files(converted: Path, handler: type[Handler], port: int) -> None:
    with served(handler, port) as hub:
        hub.breaks = 1  # the first upload is broken off
        code, said = uploaded(converted, handler, hub, *SAID)
        if code:  # what is left of it is done when asked again
            assert "was not published" in said and not hub.files
            code, said = uploaded(converted, handler, hub, *SAID)
    assert code == 0, said
    expected = {path.name for path in converted.iterdir()} - {"node_data.json"} | {"README.md"}
    assert hub.files.keys() == expected
    for name in expected - {"README.md", "report.json"}:
        assert hub.files[name] == (converted / name).read_bytes(), name
    assert b'license: "mit"' in hub.files["README.md"]
    assert "published at https://" in said


@pytest.mark.xdist_group("kaggle")
@pytest.mark.parametrize(("handler", "port"), [(HuggingFace, 0), (Kaggle, KAGGLE_PORT)])
def test_a_hub_that_refuses(converted: Path, handler: type[Handler], port: int) -> None:
    with served(handler, port) as hub:
        hub.refuses = 403
        code, said = uploaded(converted, handler, hub, *SAID)
    assert code == 1 and not hub.files
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "was not published" in line and "403" in line
