"""nobuco, from the module to Keras 2, of which tf-keras stands in the place of the package keras.

python with_nobuco.py Keras NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tf_keras
import torch

FILE = "model.h5"
# It imports `keras` and means Keras 2.
sys.modules |= {
    name.removeprefix("tf_"): module
    for name, module in [*sys.modules.items()]
    if name.partition(".")[0] == "tf_keras"
}
# It imports torchvision, whose wheel is for torch with CUDA. Where torch is without, these stand
# for operators of torchvision that would be missing; none is called.
if not torch.version.cuda:
    define: Any = torch.library.define  # has no types
    define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.modules["torchvision._meta_registrations"] = ModuleType("_meta_registrations")


def convert(network: Path, folder: Path, batch: int) -> None:
    import nobuco

    from benchmarks.drivers.module import images, load

    model = nobuco.pytorch_to_keras(load(network), args=[images(network, batch)])
    model.save(folder / FILE)


def describe(folder: Path) -> None:
    import nobuco  # noqa: F401 — its classes are registered

    from benchmarks.drivers.facts import described, write

    model = tf_keras.models.load_model(folder / FILE)
    model.export(folder / "saved_model")
    write(described(model, tf_keras), folder)


if __name__ == "__main__":
    _, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(folder))
    else:
        convert(Path(network), Path(folder), int(batch))
