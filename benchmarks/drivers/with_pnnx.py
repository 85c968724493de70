"""pnnx, from the ONNX file to a module of torch in Python.

python with_pnnx.py torch NETWORK_FOLDER RESULT_FOLDER BATCH
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pnnx

if __name__ == "__main__":
    _, network, folder, batch = sys.argv[1:]
    file = Path(folder) / "network.onnx"  # it writes beside what it reads
    shutil.copy(Path(network) / f"network{batch}.onnx", file)
    os.chdir(folder)
    code = subprocess.run([pnnx.EXEC_PATH, file.name], check=False).returncode
    if code or not Path("network_pnnx.py").exists():
        raise SystemExit(f"pnnx ended with {code} and wrote no module")
