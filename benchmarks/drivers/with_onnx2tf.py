"""onnx2tf, from the ONNX file to LiteRT by its own writer, or to Keras 2 by TensorFlow's converter.

python with_onnx2tf.py FORM NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import json
import shutil
import sys
from pathlib import Path

OPTIONS = {"LiteRT": (), "Keras": ("--tflite_backend", "tf_converter", "--output_h5")}


def convert(form: str, network: Path, folder: Path, batch: str) -> None:
    import onnx2tf

    made = folder / "onnx2tf"
    file = network / f"network{batch}.onnx"
    given = ("--input_onnx_file_path", str(file), "--output_folder_path", str(made))
    sys.argv = ["onnx2tf", *given, *OPTIONS[form]]
    onnx2tf.main()
    if form == "LiteRT":
        shutil.copy(made / f"{file.stem}_float32.tflite", folder / "model.tflite")
    else:
        shutil.copy(made / f"{file.stem}_float32.h5", folder / "model.h5")
        made.rename(folder / "saved_model")


def describe(folder: Path) -> None:
    """Counts the layers in the file: Keras 2 does not load it, for want of classes."""
    import h5py

    from benchmarks.drivers.facts import OPAQUE, write

    with h5py.File(folder / "model.h5") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    kinds = [each["class_name"] for each in layers if each["class_name"] != "InputLayer"]
    write({"layers": len(kinds), "opaque": sum(kind in OPAQUE for kind in kinds)}, folder)


if __name__ == "__main__":
    form, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(folder))
    else:
        convert(form, Path(network), Path(folder), batch)
