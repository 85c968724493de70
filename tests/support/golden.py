"""The golden example: the module that `convert` emits for mobilevit_xs, kept in the repo.

`python -m tests.support.golden` writes it anew. The source is a real export (dynamo, opset 20,
batch normalization kept) with its weights replaced, so that everyone gets the same bytes.
"""

import tempfile
from pathlib import Path

from onnx2mvit import inspect
from onnx2mvit.emitter.emit import emit
from onnx2mvit.version import __version__
from tests.support import skeletons

GOLDEN = Path(__file__).parent.parent.parent / "keras_out" / "golden" / "mobilevit_xs.py"


def emitted() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = skeletons.fill(skeletons.FOLDER / "mobilevit_xs.onnx.xz", Path(folder))
        return emit(inspect(path), "mobilevit_xs", __version__)


if __name__ == "__main__":
    GOLDEN.write_text(emitted(), encoding="utf-8")
    print(GOLDEN)
