"""What is given where an ONNX file is expected is called by its name, with what to do."""

import zipfile
from pathlib import Path

import pytest

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.reader import read


def zipped(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, b"")


@pytest.mark.parametrize(
    ("name", "content", "what", "advice"),
    [
        ("a.pt", zipped("a/data.pkl", "a/version"), "PyTorch model, or its weights", "onnx.export"),
        ("a.pth", b"\x80\x02\x8a\nl\xfcF\x9cF\xf9 j\xa8P\x19.", "pickled PyTorch", "onnx.export"),
        ("a.onnx", zipped("a/code/a.py", "a/constants.pkl", "a/data.pkl"), "TorchScript", "traced"),
        ("a.pt2", zipped("serialized_exported_program.json"), "exported program", "onnx.export"),
        ("a.safetensors", b"\x02" + bytes(7) + b"{}" + bytes(64), "safetensors", "onnx.export"),
        ("a.keras", zipped("config.json", "model.weights.h5"), ".keras file", "load_model"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5", "load_model"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "LiteRT", "tf2onnx.convert --tflite"),
        ("a.pb", b"\x0a\x0e\x0a\x01x\x12\x0bPlaceholder", "graph of TensorFlow", "--graphdef"),
        ("a.mlmodel", b"\x08\x05\x12\x02\x0a\x00" + b"\xff" * 9, "Core ML", "made from"),
        ("a.ort", b"\x1c\0\0\0ORTM" + bytes(64), "onnxruntime's own format", "made from"),
        ("a.onnx", b"\n <!DOCTYPE HTML><title>Sign in</title>", "a web page", "login"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        ("a.onnx", b'{"message": "Not Found"}', "a JSON file", "made from"),
        ("a.onnx.gz", b"\x1f\x8b\x08" + bytes(64), "compressed", "unpack"),
        ("a.zip", zipped("a.onnx"), "a zip file", "unpack"),
        ("a.onnx", b"PK\x03\x04" + bytes(64), "cut off", "download it again"),
        ("a.onnx.data", bytes(64), "the weights of an ONNX file", ".onnx file that belongs"),
        ("a.onnx", b"", "is empty", ""),
        ("a.onnx", b"\x12" * 64, "not an ONNX model", "export or download it again"),
        ("a.onnx", b"\x08\x08\x04", "not a valid ONNX model", ""),  # for one parser it is a message
    ],
)
def test_other_files_are_called_by_their_names(
    tmp_path: Path, name: str, content: bytes | dict[str, bytes], what: str, advice: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for entry, data in content.items():
                archive.writestr(entry, data)
    with pytest.raises(InvalidModelError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is ") and "\n" not in message
    assert what in message and advice in message


def test_folders_are_called_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InvalidModelError, match=f"a SavedModel: .* --saved-model {tmp_path}"):
        read(tmp_path)
    with pytest.raises(InvalidModelError, match="is not a file"):
        read(tmp_path.parent)
