"""What `evaluate` takes beside the network, and whether its memory grows.

    python -m tests.performance.evaluating

Images per second of onnxruntime through `evaluate`, from JPEG files of 500×375, against onnxruntime
alone on the same pixels, already decoded; in turns, with the seconds of processor time of this
process and of those that decode. Then the memory of all of them while 100,000 images are answered.
"""

import contextlib
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
from PIL import Image

import onnx2mvit
from onnx2mvit.evaluation.dataset import open_dataset
from onnx2mvit.evaluation.decode import decode
from onnx2mvit.evaluation.targets import open_targets
from onnx2mvit.runtimes.images import structured_images
from tests.support import skeletons
from tests.support.photographs import colour_network

BATCH, ROUNDS = 32, 3


def jpegs(count: int, height: int, width: int) -> list[bytes]:
    found = []
    for image in structured_images(count, height, width, 3):
        content = io.BytesIO()
        Image.fromarray(np.round(255 * image).astype(np.uint8)).save(content, "JPEG", quality=90)
        found.append(content.getvalue())
    return found


def write(folder: Path, pictures: list[bytes], count: int) -> Path:
    """So many files, in folders of eight classes."""
    for number in range(count):
        path = folder / str(number % 8) / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % len(pictures)])
    return folder


def processor() -> tuple[float, float]:
    """Seconds that this process took, and those that it began and that have ended."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


def decoding() -> list[psutil.Process]:
    """The processes that decode; multiprocessing has one of its own besides."""
    found = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "resource_tracker" not in " ".join(each.cmdline()):
                found.append(each)
    return found


def overhead(folder: Path, images: int) -> None:
    network = skeletons.fill(skeletons.FOLDER / "mobilevit_xs.onnx.xz", folder)
    photos = write(folder / "photos", jpegs(64, 375, 500), images)
    (target,) = open_targets([network], BATCH)
    batches = open_dataset(photos, target.classes).batches(BATCH)
    pixels = [decode(photos, batch, [target.wanted]).pixels for batch in batches]
    alone, through = [], []
    for number in range(ROUNDS):
        before, start = processor(), time.perf_counter()
        for (part,) in filter(None, pixels):
            target.scores(part)
        alone.append((time.perf_counter() - start, processor()[0] - before[0]))
        before, marks = processor(), dict[int, float]()

        def look(stage: str, done: int, total: int, marks: dict[int, float] = marks) -> None:
            if stage == "evaluate":
                marks[done] = time.perf_counter()

        onnx2mvit.evaluate(network, photos, batch=BATCH, output=folder / "out", progress=look)
        psutil.wait_procs(decoding())  # they are counted when they have ended
        after = processor()
        begun = marks.pop(0)
        first, last = min(marks), max(marks)
        steady = (marks[last] - marks[first]) * images / (last - first)
        through.append((steady, after[0] - before[0], after[1] - before[1]))
        print(f"round {number + 1}: alone {images / alone[-1][0]:.1f} images/s, ", end="")
        print(f"through evaluate {images / steady:.1f}, ", end="")
        print(f"once the first batch was there, after {marks[first] - begun:.1f} s", flush=True)
    ratios = [ours[0] / theirs[0] - 1 for ours, theirs in zip(through, alone, strict=True)]
    print(
        f"{os.cpu_count()} processors, {images} images: alone "
        f"{images / statistics.median(each[0] for each in alone):.1f} images/s, through evaluate "
        f"{images / statistics.median(each[0] for each in through):.1f}; overhead "
        f"{statistics.median(ratios):.1%} ({min(ratios):.1%} to {max(ratios):.1%})"
    )
    own, ours, theirs = (
        statistics.median(each) / images * 1e3
        for each in (
            [each[1] for each in alone],
            [each[1] for each in through],
            [each[2] for each in through],
        )
    )
    print(
        f"milliseconds of processor time for an image: alone {own:.1f}; through evaluate "
        f"{ours:.1f} here, with loading the network, and {theirs:.1f} in those that decode"
    )


def memory(folder: Path, images: int) -> None:
    path = folder / "colours.onnx"
    onnx.save(colour_network(), path)
    photos = write(folder / "many", jpegs(64, 40, 48), images)
    me, seen = psutil.Process(), dict[int, tuple[float, float]]()
    marks = iter([*range(images // 10, images + 1, images // 10)])
    mark = next(marks)

    def look(stage: str, done: int, total: int) -> None:
        nonlocal mark
        if stage == "evaluate" and done >= mark:
            children = sum(child.memory_info().rss for child in decoding())
            seen[done] = me.memory_info().rss / 1e6, children / 1e6
            mark = next(marks, images + 1)

    report = onnx2mvit.evaluate(path, photos, output=folder / "out", progress=look).report
    for done, (own, children) in seen.items():
        print(f"{done:7,} images: {own:.0f} MB, and {children:.0f} in the processes that decode")
    print(f"{report['images']:,} images, {report['images_per_second']:.0f} images/s")


def main(arguments: list[str]) -> None:
    images, many = (int(each) for each in (*arguments, "512", "100000")[:2])
    with tempfile.TemporaryDirectory() as folder:
        overhead(Path(folder), images)
        memory(Path(folder), many)


if __name__ == "__main__":
    main(sys.argv[1:])
