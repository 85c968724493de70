"""What the fuzzer found, one test each: no trace, one line that names the node."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from onnx2mvit.errors import InvalidModelError, Onnx2mvitError, UnsupportedError
from onnx2mvit.emit import unformatted
from onnx2mvit.read import read
from onnx2mvit.rewrite import rewrite
from tests.graphs import model, save

HEAD = "g (float[1,8,8,8] x) => (float y)"


def refused(folder: Path, made: onnx.ModelProto) -> Onnx2mvitError:
    with pytest.raises(Onnx2mvitError) as caught:
        unformatted(rewrite(read(save(made, folder))), "net", "test")
    assert "\n" not in str(caught.value)
    return caught.value
