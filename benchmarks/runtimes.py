"""What runs the files of all contenders, as users would, on images as the exporter's file has them.

    python -m benchmarks.runtimes RUNTIME FILE IMAGES BATCH THREADS

is one runtime in a process of its own: it answers each line "WARM_UP TIMED" on stdin with the
seconds of so many calls, and "larger" with whether it is right on larger images. The first line
that it writes is its error, or what keeps it from running.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.runtimes.tolerances import EXPORT

Array = np.ndarray[Any, Any]
Call = Callable[[Array], Array]
CHANNELS = 3


def main(runtime: str, file: Path, images: Path, batch: int, threads: int) -> None:
    """Loads it, says how far it is from onnxruntime's answers, and is timed as it is asked to."""
    from onnx2mvit.runtimes.timing import block

    channel = os.fdopen(os.dup(1), "w")  # frameworks print what they like on ours
    os.dup2(2, 1)
    arrays = np.load(images)
    try:
        call, last = RUNNERS[runtime](file, threads)
        given = laid_out(arrays["images"][:batch], last)
        answer = call(given)
        said: dict[str, Any] = {"error": relative_error(answer, arrays["answers"][:batch])}
    except Exception as error:  # of any runtime, whatever it raises
        traceback.print_exc()
        said = {"failure": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(said), file=channel, flush=True)
    if "failure" in said:
        return
    for line in sys.stdin:
        if line.strip() == "larger":
            told: Any = right_on_larger(call, last, arrays)
        else:
            warm_up, timed = map(int, line.split())
            told = block(lambda: call(given), warm_up, timed)
        print(json.dumps(told), file=channel, flush=True)


def laid_out(images: Array, last: bool) -> Array:
    """Images with channels after the batch, as they are or with channels last."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1) if last else images)


def right_on_larger(call: Call, last: bool, arrays: Mapping[str, Array]) -> bool | None:
    """Whether a larger image is answered as torch does; None where torch does not take it."""
    if "larger" not in arrays:
        return None
    try:
        answer = call(laid_out(arrays["larger"][:1], last))
        return relative_error(answer, arrays["larger_answers"][:1]) <= EXPORT
    except Exception:  # of any runtime, whatever it raises
        traceback.print_exc()
        return False


def relative_error(ours: Array, theirs: Array) -> float:
    """The largest error as a share of the largest value; 1 or more says that nothing is right."""
    ours = ours.reshape(theirs.shape) if ours.size == theirs.size else np.full_like(theirs, np.inf)
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return error if np.isfinite(error) else 1e9


def onnxruntime(file: Path, threads: int) -> tuple[Call, bool]:
    """An ONNX file."""
    from onnx2mvit.runtimes import OnnxRuntimeRunner

    runner = OnnxRuntimeRunner(file, arena=True, threads=threads)
    last = runner.session.get_inputs()[0].shape[-1] == CHANNELS
    return lambda images: next(iter(runner(images).values())), last


def openvino(file: Path, threads: int) -> tuple[Call, bool]:
    """An ONNX file or an .xml in OpenVINO, in float32."""
    from onnx2mvit.runtimes import OpenVINORunner

    runner = OpenVINORunner(file, threads)
    shape = runner.compiled.inputs[0].get_partial_shape()
    last = shape[3].is_static and shape[3].get_length() == CHANNELS
    return lambda images: next(iter(runner(images).values())), last


def litert(file: Path, threads: int) -> tuple[Call, bool]:
    """A LiteRT file, with XNNPACK; not by its signature, as not all have one."""
    from onnx2mvit.runtimes import import_litert

    made = import_litert().Interpreter(model_content=file.read_bytes(), num_threads=threads)
    made.allocate_tensors()
    (takes,), gives = made.get_input_details(), made.get_output_details()[0]

    def call(images: Array) -> Array:
        if images.shape != tuple(made.get_input_details()[0]["shape"]):
            made.resize_tensor_input(takes["index"], images.shape)
            made.allocate_tensors()
        made.set_tensor(takes["index"], images)
        made.invoke()
        answer: Array = made.get_tensor(gives["index"])
        return answer

    return call, takes["shape"][-1] == CHANNELS


def saved_model(file: Path, threads: int) -> tuple[Call, bool]:
    """A SavedModel of TensorFlow, that is a Keras model as one tf.function."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    from onnx2mvit.runtimes import SavedModelRunner

    runner = SavedModelRunner(file)
    (spec,) = runner.call.structured_input_signature[1].values()
    return lambda images: next(iter(runner(images).values())), spec.shape[-1] == CHANNELS


def torch(file: Path, threads: int) -> tuple[Call, bool]:
    """A module of torch: the network's own, or one that pnnx wrote, whose class is `Model`."""
    import torch

    torch.set_num_threads(threads)
    if file.suffix == ".py":
        os.chdir(file.parent)  # it loads its weights from there
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None and spec.loader is not None
        source = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
        model = source.Model().eval()
    else:
        from benchmarks.drivers.module import load

        model = load(file.parent)

    def call(images: Array) -> Array:
        with torch.inference_mode():
            answer = model(torch.from_numpy(images))
        found: Array = answer.numpy()
        return found

    return call, False


RUNNERS: dict[str, Callable[[Path, int], tuple[Call, bool]]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "litert": litert,
    "saved_model": saved_model,
    "torch": torch,
}

if __name__ == "__main__":
    runtime, file, images, batch, threads = sys.argv[1:]
    main(runtime, Path(file), Path(images), int(batch), int(threads))
