"""A training step in Keras against one in torch: `python -m tests.performance.training`.

MobileViT with random weights, cross-entropy and SGD with momentum on the same random images, in
one process, in turns. Keras trains as `fit` does it, with `train_on_batch`, as it is and under
`onnx2mvit.fast_training`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.history import figure, keep
from onnx2mvit import convert, fast_training
from onnx2mvit.base.optional import import_tensorflow
from onnx2mvit.benchmarks.machine import Others
from onnx2mvit.builder.build import build
from onnx2mvit.exporter import export
from onnx2mvit.exporter.models import load
from onnx2mvit.runtimes.timing import interleave

RATE, MOMENTUM = 1e-3, 0.9


def torch_step(name: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    model = load(name, "random", seed=0, num_labels=None, warn=print).model.train()
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    truth = torch.from_numpy(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, truth)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.item()

    return step


def keras_models(name: str) -> list[Any]:
    """The network twice, compiled."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = export(name, Path(folder) / f"{name}.onnx", weights="random").path
        made = convert(path, folder, verify=False).folder
        models = [build(made), build(made)]
    for model in models:
        model.compile(
            keras.optimizers.SGD(RATE, MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilevit_xs")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timed", type=int, default=5, help="steps of a round that count")
    parser.add_argument("--keep", action="store_true", help="in docs/benchmarks/training.json")
    given = parser.parse_args()
    import_tensorflow()
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(given.batch, 256, 256, 3)).astype(np.float32)
    labels = rng.integers(0, 1000, given.batch)
    stock, fast = keras_models(given.model)
    steps = {
        "torch": torch_step(given.model, images, labels),
        "Keras": lambda: stock.train_on_batch(images, labels),
        "fast_training": lambda: fast.train_on_batch(images, labels),
    }
    with fast_training(fast), Others() as others:
        timings = interleave(steps, rounds=given.rounds, warm_up=1, timed=given.timed)
    for name, timing in timings.items():
        ratio = timing.ratio(timings["torch"])
        print(
            f"{name:13} {1e3 * timing.seconds:7.0f} ms a step of {given.batch}, "
            f"{ratio.median:.2f} of torch's ({ratio.least:.2f}–{ratio.greatest:.2f})"
        )
    if given.keep:
        reference = timings["torch"]
        figures = [
            figure(
                f"{name}, batch {given.batch}",
                timing.seconds,
                "s",
                None if timing is reference else timing.ratio(reference),
            )
            for name, timing in timings.items()
        ]
        print(keep("training", f"{given.model}, 256×256", figures, others.share))
    print(f"others took {others.share:.0%} of the processors meanwhile")


if __name__ == "__main__":
    main()
