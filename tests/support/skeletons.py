"""Real exported ONNX graphs without their weights, and how they are filled again.

    python -m tests.support.skeletons strip exported_onnx/skeletons FILE.onnx …
    python -m tests.support.skeletons fill OUT_DIR exported_onnx/skeletons/FILE.onnx.xz …

A filled file is a complete model: the same nodes, names, metadata and shapes as the export, with
seeded weights of the same statistics. Integers and floats of at most `KEEP` elements are kept.
"""

import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

KEEP = 64
USUAL = "hf-mobilevit_xxs.legacy17.bn.dynb"  # the export of tests that any real one would do for
FOLDER = Path(__file__).parent.parent.parent / "exported_onnx" / "skeletons"


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from tensors(attribute.g)


def strip(path: Path, folder: Path) -> Path:
    model = onnx.load(path)
    for tensor in tensors(model.graph):
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind != "f" or array.size <= KEEP:
            continue
        wide = array.astype(np.float64)
        statistics = {
            "mean": float(wide.mean()),
            "std": float(wide.std()),
            "min": float(wide.min()),
            "max": float(wide.max()),
        }
        for field in ("raw_data", "float_data", "double_data", "int32_data"):
            tensor.ClearField(field)
        tensor.doc_string = json.dumps(statistics)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (path.name + ".xz")
    target.write_bytes(lzma.compress(model.SerializeToString(), preset=9))
    return target


def fill(path: Path, folder: Path) -> Path:
    model = onnx.load_from_string(lzma.decompress(path.read_bytes()))
    for number, tensor in enumerate(tensors(model.graph)):
        if not tensor.doc_string.startswith('{"mean"'):
            continue
        statistics = json.loads(tensor.doc_string)
        rng = np.random.default_rng(zlib.crc32(f"{number}:{tensor.name}".encode()))
        if statistics["min"] >= 0:
            array = rng.uniform(statistics["min"], statistics["max"], tuple(tensor.dims))
        else:
            array = rng.normal(statistics["mean"], statistics["std"], tuple(tensor.dims))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        tensor.raw_data = np.ascontiguousarray(array.astype(dtype)).tobytes()
        tensor.ClearField("doc_string")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name.removesuffix(".xz")
    onnx.save(model, target)
    return target


if __name__ == "__main__":
    verb, out, *files = sys.argv[1:]
    for file in files:
        print({"strip": strip, "fill": fill}[verb](Path(file), Path(out)))
