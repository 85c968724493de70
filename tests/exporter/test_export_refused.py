"""What export refuses: networks, options, folders; nothing half-written is left."""

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from onnx2mvit.base.quiet import as_command_line
from onnx2mvit.errors import (
    MissingDependencyError,
    Onnx2mvitError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from onnx2mvit.exporter import export, pipeline, torch_export
from tests.support.exports import MODEL, quick


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "bert"}', "is a bert model, not one of mobilevit, "),
        (
            '{"model_type": "mobilevit", "architectures": ["MobileViTForObjectDetection"]}',
            "classifies neither images nor pixels",
        ),
        (
            '{"model_type": "mobilevit", "architectures": ["MobileViTForImageClassification"],'
            ' "num_attention_heads": 5}',
            "cannot be built: .*5",
        ),
    ],
)
def test_other_models(config: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UnsupportedError, match=message):
        quick(tmp_path / "model.onnx", model=str(tmp_path))


def test_failed_check_leaves_the_old_file(
    tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spoilt(*arguments: Any) -> onnx.ModelProto:
        model = torch_export.to_onnx(*arguments)
        bias = next(t for t in model.graph.initializer if t.name == "model.classifier.1.bias")
        values = onnx.numpy_helper.to_array(bias).copy()
        values[7] += 0.01
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return model

    monkeypatch.setattr(pipeline, "to_onnx", spoilt)
    path = tmp_path / "model.onnx"
    with pytest.raises(VerificationError, match=r"differs from torch by 1\.00e-02"):
        quick(path, model=tiny)
    assert not list(tmp_path.iterdir())
    path.write_text("old")
    with pytest.raises(VerificationError):
        quick(path, model=tiny)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_failed_exporter(
    tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Far beyond what it knows, the legacy exporter prints its whole graph before it fails.
    monkeypatch.setitem(torch_export.OPSETS, "legacy", range(9, 100))
    with as_command_line(), pytest.raises(UnsupportedError) as caught:
        quick(tmp_path / "model.onnx", model=tiny, fold_bn=True, opset=99)
    assert str(caught.value).startswith("the legacy exporter failed: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_unwritable_output(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Onnx2mvitError, match="cannot be written") as caught:
        quick(tmp_path / "file" / "model.onnx", model=tiny)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "mobilevit_xxl"}, "did you mean .mobilevit_xxs. or "),
        ({"exporter": "tf2onnx"}, "one of dynamo, legacy"),
        ({"opset": 8}, "legacy exporter writes opsets 9 to 20, not 8"),
        ({"exporter": "dynamo", "opset": 17}, "dynamo exporter writes opsets 18 to 25, not 17"),
        ({"image_size": (256, 16)}, "image size"),
        ({"num_labels": 0}, "from 1 on"),
        ({"weights": "hub", "num_labels": 10}, "own labels"),
        ({"seed": 2**63}, "seed"),
        ({"seed": -1}, "seed"),
    ],
)
def test_usage(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        quick(tmp_path / "model.onnx", **options)


def test_output_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        quick(tmp_path)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_missing_package(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        export(MODEL, tmp_path / "model.onnx", weights="random", exporter="dynamo")
    assert caught.value.exit_code == 6
    assert package in str(caught.value)
    assert "pip install 'onnx2mvit[export]'" in str(caught.value)
