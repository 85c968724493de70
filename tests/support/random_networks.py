"""Random networks, converted for another size and held against onnxruntime there.

`python -m tests.support.random_networks --count 500`. A seed makes a network: two to six blocks in
a row, of those that patterns know and of operators with an axis of space that none does, with
random widths, kernels, strides, padding, groups and activations, batch normalization kept or
folded, and one to three answers. Its weights are random, of the size at which signals neither
grow nor vanish.

Each is written in two forms: for images of one size, whose lengths it has as numbers, and for
every size, with the lengths computed. Both are converted for another size than they are read at by
default, or for any. The second form, run by onnxruntime at that size, says what is right.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnx2mvit.builder import float64_allowed, in_float64
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.runtimes import Float64Runner, OnnxRuntimeRunner, as_the_file, compare
from onnx2mvit.runtimes.tolerances import FLOAT32, FLOAT64
from tests.support.random_blocks import BLOCKS, conv_block
from tests.support.random_graphs import Array, Builder, Form
from tests.support.random_operators import OPERATORS

if TYPE_CHECKING:
    import keras

    from onnx2mvit.ir.network import Network

BATCHES = (1, 3)
EVERY_SIZE = Form(one_size=False, batch=None)
HARMLESS = frozenset(("passed", "refused"))


def made(seed: int, form: Form) -> Builder:
    """The network of a seed, in a form."""
    b = Builder(seed, form)
    # As every network has it: a LayerNorm over three colours that are nearly alike, as in a grey
    # picture, divides by nearly nothing, and no two runtimes agree on that to 1e-5.
    conv_block(b)
    for _ in range(b.one_of(1, 2, 3, 4, 5)):
        b.one_of(b.one_of(*BLOCKS), b.one_of(*OPERATORS))(b)
        if b.chance(0.1):
            b.outputs[b.op("Tanh", b.x)] = 4
    match b.one_of("image", "classifier", "classifier", "sequence", "mask"):
        case "image":
            b.outputs[b.op("Tanh", b.x)] = 4
        case "sequence":
            x = b.op("Reshape", b.x, b.integers(b.batch, b.channels, -1))
            b.outputs[b.op("Transpose", x, perm=[0, 2, 1])] = 3
        case "mask":
            b.outputs[b.op("ArgMax", b.x, axis=1, keepdims=0)] = 3
            b.outputs[b.op("ReduceMean", b.x, axes=[2, 3], keepdims=0)] = 2
        case _:
            x, classes = b.op("Flatten", b.op("GlobalAveragePool", b.x)), b.one_of(2, 10)
            weight, bias = b.weight(classes, b.channels), b.weight(classes, scale=0.1)
            b.outputs[b.op("Gemm", x, weight, bias, transB=1)] = 2
    return b


@dataclass(frozen=True)
class Found:
    """What a conversion of a random network came to.

    Attributes:
        what: it "passed", was "refused", or "needlessly refused" although nothing in the network
            is of one size; it is "wrong", "mismatched" if the proof says so too, is right and
            "failed" the proof nevertheless, or ended in a "trace".
        why: in words, of all but what passed.
    """

    seed: int
    form: Form
    asked: ImageSize
    what: str
    why: str

    def __str__(self) -> str:
        size, batch = ("one size" if self.form.one_size else "every size"), self.form.batch
        asked = f"(batch {batch}) for {self.asked}"
        return f"seed {self.seed}, of {size} {asked}: {self.what}: {self.why}"


def conversions(seed: int, folder: Path) -> Iterator[Found]:
    """Converts the network of a seed in both forms, and compares each at another size."""
    rng = np.random.default_rng([seed, 1])
    one_size = Form(one_size=True, batch=[None, 1, 2][rng.integers(3)])
    forms = {"one": one_size, "every": EVERY_SIZE}
    for_any = str(rng.choice([*forms]))
    networks = {name: made(seed, form) for name, form in forms.items()}
    files = {name: folder / f"{name}_{seed}.onnx" for name in forms}
    for name, path in files.items():
        onnx.save(networks[name].model(), path)
    for name, path in files.items():
        size = networks[name].sizes[1]
        asked: ImageSize = "any" if name == for_any else size
        try:
            what, why = outcome(path, files["every"], asked, size)
        except Onnx2mvitError as error:
            must = networks[name].of_size and (asked == "any" or name == "one")
            what, why = ("refused" if must else "needlessly refused"), str(error)
        except Exception as error:
            what, why = "trace", f"{type(error).__name__}: {error}"
        yield Found(seed, forms[name], asked, what, why)


def outcome(path: Path, right: Path, asked: ImageSize, size: tuple[int, int]) -> tuple[str, str]:
    """What a conversion comes to that is not refused, by the answers of another file."""
    import onnx2mvit

    result = onnx2mvit.convert(path, path.parent / "out", image_size=asked, inputs=2)
    network = onnx2mvit.inspect(path, size=size)
    assert network.image_shape is not None
    for batch in BATCHES if network.batch is None else (network.batch,):
        shape = batch, network.image_shape[2], *size
        images = np.random.default_rng(batch).normal(size=shape).astype(np.float32)
        theirs = OnnxRuntimeRunner(right)(images)
        # Both files have the same outputs in the same order, under other names.
        answers = as_the_file(result.model, network)(images).values()
        compared = compare(dict(zip(theirs, answers, strict=True)), theirs)
        error = max(each.max_rel_error for each in compared.values())
        near = all(each.within(FLOAT32) for each in compared.values())
        if not near and not is_right_in_float64(result.model, network, right, images):
            return "wrong" if result.passed else "mismatched", f"by {error:.1e} at batch {batch}"
    return ("passed", "") if result.passed else ("failed", "though it is right")


def is_right_in_float64(model: keras.Model, network: Network, right: Path, images: Array) -> bool:
    """Whether nothing but rounding differs."""
    names = [output.name for output in onnx.load(right).graph.output]
    wide = images.astype(np.float64)
    with float64_allowed():
        theirs = Float64Runner(right, names).tensors({"image": wide}, names)
        answers = as_the_file(in_float64(model), network)(wide).values()
        compared = compare(dict(zip(names, answers, strict=True)), theirs)
    return all(each.within(FLOAT64) for each in compared.values())


def main() -> None:
    import keras

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    for seed in range(options.first, options.first + options.count):
        with tempfile.TemporaryDirectory() as folder:
            for found in conversions(seed, Path(folder)):
                counts[found.what] += 1
                if found.what != "passed":
                    print(found, flush=True)
        keras.backend.clear_session()
    print(f"{options.count} networks in {time.monotonic() - start:.0f} s: {dict(counts)}")
    sys.exit(not HARMLESS.issuperset(counts))


if __name__ == "__main__":
    main()
