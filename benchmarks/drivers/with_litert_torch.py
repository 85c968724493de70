"""litert-torch, from the module to LiteRT.

python with_litert_torch.py LiteRT NETWORK_FOLDER RESULT_FOLDER BATCH
"""

import sys
from pathlib import Path

import litert_torch

from benchmarks.drivers.module import images, load

if __name__ == "__main__":
    _, network, folder, batch = sys.argv[1:]
    made = litert_torch.convert(load(Path(network)), (images(Path(network), int(batch)),))
    made.export(str(Path(folder) / "model.tflite"))
