"""The models by name, `onnx2mvit.models`: what the converter writes of each network of `export`.

    python -m tests.support.zoo           # writes all modules anew, of their skeletons
    python -m tests.support.zoo --export  # and makes the skeletons that are missing, by torch

A skeleton is an export without weights, as those in `exported_onnx/skeletons`. Which weights it is
filled with does not matter: a module has none.
"""

import ast
import sys
import tempfile
from pathlib import Path

import onnx

from onnx2mvit.emitter import emit
from onnx2mvit.stages import inspect
from onnx2mvit.version import __version__
from tests.support import skeletons

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "exported_onnx" / "zoo"
MODULES = ROOT / "onnx2mvit" / "models" / "zoo"
# The legacy exporter has no Col2Im at opset 17, and poolings that are larger than their image.
BY_DYNAMO = ("mobilevitv2", "efficientnet")
PUBLISHED = "onnx2mvit.published"  # the repository, in a skeleton's metadata


def names() -> list[str]:
    """Those of which there is a skeleton."""
    return sorted(path.name.removesuffix(".onnx.xz") for path in FOLDER.glob("*.onnx.xz"))


def export(name: str) -> Path:
    """Writes the skeleton of a network by name, by torch's faster exporter where it can."""
    import json

    import torch

    from onnx2mvit.exporter.models import load
    from onnx2mvit.exporter.torch_export import Logits, Request, to_onnx
    from onnx2mvit.exporter.variants import VARIANTS
    from onnx2mvit.reader.preprocessing import METADATA

    loaded = load(name, "random", seed=0, num_labels=None, warn=print)
    variant = VARIANTS.get(name)
    images = torch.rand(2, loaded.channels, *loaded.size)
    module = Logits(loaded.model, loaded.size)
    legacy = variant is not None and variant.family not in BY_DYNAMO
    exporter, opset = ("legacy", 17) if legacy else ("dynamo", 20)
    proto = to_onnx(module, images, Request(exporter, opset, False, True), module.outputs)
    how = loaded.preprocessing
    known = {} if how.is_assumed else {METADATA: json.dumps(how.as_dict())}
    published = variant.repository if variant is not None else "efficientnet-lite-pytorch"
    onnx.helper.set_model_props(proto, known | {PUBLISHED: published})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        onnx.save(proto, path)
        return skeletons.strip(path, FOLDER)


def source(name: str) -> str:
    """The module of a network as the converter writes it today, but without weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = skeletons.fill(FOLDER / f"{name}.onnx.xz", Path(folder))
        text = emit(inspect(path), name, __version__)
        known = {e.key: e.value for e in onnx.load(path, load_external_data=False).metadata_props}
    header = ast.parse(text).body[0]
    assert header.end_lineno is not None
    body = "".join(text.splitlines(keepends=True)[header.end_lineno :])
    body = body.replace(f'weights="{name}.safetensors"', "weights=None", 1)
    told = f"{name}: {known[PUBLISHED]}, as onnx2mvit writes it (`make zoo`)."
    return f'"""{told}"""\n{body}'


def main(arguments: list[str]) -> None:
    if "--export" in arguments:
        from onnx2mvit.exporter.models import names as published

        for name in published():
            if not (FOLDER / f"{name}.onnx.xz").exists():
                print(export(name), flush=True)
    MODULES.mkdir(parents=True, exist_ok=True)
    (MODULES / "__init__.py").touch()
    for name in names():
        (MODULES / f"{name}.py").write_text(source(name), encoding="utf-8")
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
