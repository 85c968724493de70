"""nobuco, from the module to Keras 2.

python with_nobuco.py Keras NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tf_keras

from benchmarks.drivers.facts import described, write

FILE = "model.h5"


def convert(network: Path, folder: Path, batch: int) -> None:
    import nobuco
    from nobuco import ChannelOrder

    from benchmarks.drivers.module import images, load

    model = nobuco.pytorch_to_keras(
        load(network),
        args=[images(network, batch)],
        inputs_channel_order=ChannelOrder.TENSORFLOW,
        outputs_channel_order=ChannelOrder.TENSORFLOW,
    )
    model.save(folder / FILE)
    model.export(folder / "saved_model")


def describe(folder: Path) -> None:
    import nobuco.locate.link  # noqa: F401 — classes of its own

    model = tf_keras.models.load_model(folder / FILE)
    write(described(model, tf_keras), folder)


if __name__ == "__main__":
    _, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(folder))
    else:
        convert(Path(network), Path(folder), int(batch))
