"""onnx2mvit as its users call it: the file is converted, with the proof, and deployed.

python ours.py FORM NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drivers.facts import described, write

FORMATS = {
    "LiteRT": "litert",
    "ONNX": "onnx",
    "OpenVINO": "openvino",
    "SavedModel": "saved_model",
}
SUFFIXES = {".tflite", ".onnx", ".xml", ".bin"}


def convert(form: str, network: Path, folder: Path, batch: int) -> None:
    import onnx2mvit

    model = folder.parent / "batch1" / "model"
    if batch == 1:  # of which the other batch is deployed as well
        made = onnx2mvit.convert(network / "network.onnx", model.parent, name=model.name)
        if not made.passed:
            raise SystemExit(f"Error: not proven: {made.report['verification']['verdict']}")
    if form == "Keras":
        shutil.copy(model / "model.keras", folder)
        return
    options: dict[str, Any] = {"onnx": network / "network.onnx"}
    if form in ("LiteRT", "OpenVINO"):
        options["batch"] = batch
    file = onnx2mvit.deploy(model, folder / "deployed", format=FORMATS[form], **options).file
    if file.is_dir():
        shutil.copytree(file, folder / "saved_model")
        return
    for each in file.parent.iterdir():
        if each.suffix in SUFFIXES:
            shutil.copy(each, folder / f"model{each.suffix}")


def describe(network: Path, folder: Path) -> None:
    import keras

    from onnx2mvit.builder.build import build
    from onnx2mvit.errors import UnsupportedError

    model = keras.models.load_model(folder / "model.keras")
    model.export(folder / "saved_model", verbose=False)
    arrays = np.load(network / "images.npz")
    facts = described(model, keras)
    if "larger" in arrays:
        images, wanted = arrays["larger"].transpose(0, 2, 3, 1), arrays["larger_answers"]
        try:
            larger = build(folder / "model", input_shape=images.shape[1:])
            error = np.abs(np.asarray(larger(images)) - wanted).max()
            facts["other_sizes"] = bool(error <= 1e-4 * np.abs(wanted).max())
        except UnsupportedError:  # windows that do not fill it
            facts["other_sizes"] = False
    write(facts, folder)


if __name__ == "__main__":
    form, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(network), Path(folder))
    else:
        convert(form, Path(network), Path(folder), int(batch))
