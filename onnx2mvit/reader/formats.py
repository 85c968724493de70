"""What is given where an ONNX file is expected: what it is, and what to do with it."""

from __future__ import annotations

import zipfile
from pathlib import Path

HEAD = 512  # bytes, in which every format says what it is
FROM_TORCH = "load it in Python and export it, torch.onnx.export(model.eval(), (image,), ...)"
FROM_TENSORFLOW = "python -m tf2onnx.convert --{} {{path}} --output model.onnx"
FROM_PADDLE = "paddle2onnx --model_dir {folder} --model_filename {file} --save_file model.onnx"
OF_KERAS = "it is Keras's already, keras.saving.load_model reads it"
PAGE = "the link leads to a page and not to the file, or asks for a login"
ORIGIN = "convert the ONNX file that it was made from"
UNPACK = "unpack it first"

# What a file has at which byte.
CONTENT = (
    (0, b"\x89HDF\r\n", "an HDF5 file", OF_KERAS),
    (4, b"TFL3", "a LiteRT (TensorFlow Lite) model", FROM_TENSORFLOW.format("tflite")),
    (4, b"ORTM", "a model in onnxruntime's own format", ORIGIN),
    (0, b"version https://git-lfs", "a pointer of Git LFS and not the file", "run git lfs pull"),
    (0, b"\x80\x02", "a pickled PyTorch model, or its weights", FROM_TORCH),
    (0, b"\x80\x04", "a pickle", FROM_TORCH),
    (5, b"\0\0\0{", "a safetensors file: weights without their network", FROM_TORCH),
    (0, b"\x1f\x8b", "compressed (gzip)", UNPACK),
    (0, b"\xfd7zXZ", "compressed (xz)", UNPACK),
    (0, b"\x93NUMPY", "an array of NumPy", ORIGIN),
)
# What a text begins with, in small letters and without what is blank before it.
TEXT = (
    (b"<!doctype html", "a web page", PAGE),
    (b"<html", "a web page", PAGE),
    (b"<?xml", "an XML file, as OpenVINO has them", ORIGIN),
    (b"{", "a JSON file", ORIGIN),
)
# How the name of something in a zip file ends.
ZIP = (
    ("model.weights.h5", "a .keras file", OF_KERAS),
    ("constants.pkl", "a TorchScript archive", f"take the module that was traced: {FROM_TORCH}"),
    ("data.pkl", "a PyTorch model, or its weights", FROM_TORCH),
    ("exported_program.json", "an exported program of PyTorch", FROM_TORCH),
    ("", "a zip file", UNPACK),
)
# How the name of a file ends, whose content says nothing.
NAME = (
    (".pb", "a graph of TensorFlow", FROM_TENSORFLOW.format("graphdef")),
    (".mlmodel", "a Core ML model", ORIGIN),
    (".pdmodel", "a PaddlePaddle model", FROM_PADDLE),
    (".data", "the weights of an ONNX file", "give the .onnx file that belongs to them"),
)
# What a folder holds.
FOLDER = (
    ("saved_model.pb", "a SavedModel", FROM_TENSORFLOW.format("saved-model")),
    ("Manifest.json", "a Core ML package", ORIGIN),
)


def by_content(path: Path) -> str | None:
    """What a file or folder is that is not ONNX, and what to do; None if it says nothing.

    Raises:
        OSError: it may not be read.
    """
    if path.is_dir():
        return _first(path, [each[1:] for each in FOLDER if (path / each[0]).is_file()])
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _first(path, _of_zip(path))
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = [each[2:] for each in CONTENT if head[each[0] :].startswith(each[1])]
    return _first(path, found + [each[1:] for each in TEXT if text.startswith(each[0])])


def by_name(path: Path) -> str | None:
    """The same by its name alone."""
    return _first(path, [each[1:] for each in NAME if path.name.lower().endswith(each[0])])


def _of_zip(path: Path) -> list[tuple[str, str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return [("a zip file that was cut off", "download it again")]
    return [each[1:] for each in ZIP if any(name.endswith(each[0]) for name in names)]


def _first(path: Path, found: list[tuple[str, str]]) -> str | None:
    if not found:
        return None
    what, advice = found[0]
    return f"{what}: {advice.format(path=path, file=path.name, folder=path.parent)}"
