"""keras-hub, from a checkpoint of transformers or timm to its own network in Keras 3.

python with_keras_hub.py Keras NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

FILE = "model.keras"
# What timm's configuration has of a network whose modules are named as timm's.
TIMM = {"MobileNetV3": {"architecture": "mobilenetv3_small_100", "num_classes": 1000,
                        "num_features": 1024}}  # fmt: skip


def convert(network: Path, folder: Path) -> None:
    from benchmarks.drivers.module import load

    checkpoint = folder / "checkpoint"
    write_checkpoint(load(network).model, checkpoint)
    import keras_hub

    size = json.loads((network / "network.json").read_text())["size"]
    task = keras_hub.models.ImageClassifier.from_preset(
        str(checkpoint), activation=None, image_shape=(*size, 3), preprocessor=None
    )
    task.save(folder / FILE)


def write_checkpoint(model: Any, folder: Path) -> None:
    """Writes a module's weights as the hub has them."""
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
        return
    from safetensors.torch import save_file

    name = type(model).__name__
    if name not in TIMM:
        raise SystemExit(f"KeyError: keras-hub has no converter of {name}")
    folder.mkdir(parents=True)
    state = {key.replace(".norm.", "."): value for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TIMM[name]))


def describe(folder: Path) -> None:
    import keras
    import keras_hub  # noqa: F401 — its classes are registered

    from benchmarks.drivers.facts import described, write

    model = keras.models.load_model(folder / FILE)
    model.export(folder / "saved_model", verbose=False)
    write(described(model, keras), folder)


if __name__ == "__main__":
    _, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(folder))
    else:
        convert(Path(network), Path(folder))
