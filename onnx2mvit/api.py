"""The whole way, as `convert` and `verify` take it: read → lift → lower → emit → build → verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.memory import let_go
from onnx2mvit.base.output import MARK, whole_folder
from onnx2mvit.base.user_files import seen_from
from onnx2mvit.builder import (
    at_size,
    block_weights,
    build,
    check_weights,
    save,
    save_weights,
    single_operators_fit,
)
from onnx2mvit.conversion import Conversion
from onnx2mvit.emitter import block_model, emit, model_name
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lifter.activation import own_arguments
from onnx2mvit.lifter.head import HeadChoice, own_head
from onnx2mvit.lifter.merge import merge_branches as merged
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.user_patterns import all_patterns, building, own_rules
from onnx2mvit.reader import read
from onnx2mvit.reader.preprocessing import Given
from onnx2mvit.reports import (
    NODE_DATA,
    conversion_report,
    how_read,
    node_data,
    render,
    report_beside,
)
from onnx2mvit.runtimes import check_folder
from onnx2mvit.stages import at_sizes
from onnx2mvit.target import ExportRequest, exported
from onnx2mvit.verifier import (
    FOLDER,
    INPUTS,
    Verification,
    inspect_for,
    load_traced,
    look_at_swap,
    look_elsewhere,
    prove,
    renew_repro,
    run_reference,
    write_repro,
)
from onnx2mvit.version import __version__

if TYPE_CHECKING:
    import keras

ALONE = 1 << 28  # bytes of weights from which on onnxruntime answers before the model is made
Progress = Callable[[str], None]


class Stages:
    """Says which stage runs and remembers how long each took."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or (lambda message: None)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what is done in it."""
        self.progress(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def convert(
    path: str | Path,
    output: str | Path = "keras_out",
    *,
    name: str | None = None,
    verify: bool = True,
    images: str | Path | None = None,
    inputs: int = INPUTS,
    image_size: ImageSize | None = None,
    head: HeadChoice = "keep",
    patterns: Sequence[str | Path] = (),
    outputs: Sequence[str] = (),
    merge_branches: bool = False,
    hard_activations: bool = False,
    blocks: bool = False,
    preprocessing: Given = None,
    weights: str | Path | None = None,
    seed: int = 0,
    fold_bn: bool = False,
    progress: Progress | None = None,
    warn: Progress | None = None,
) -> Conversion:
    """Converts an ONNX file to a Keras model, in `output`/`name`/.

    The folder gets NAME.py, NAME.safetensors (weights by layer path), NAME.keras, report.json and
    report.html; those of an older one of that name are replaced, and what else is in it stays. The
    model is compared with onnxruntime at the size that the file has, or that is asked for where it
    leaves it open, and at others as far as the file runs there. A model that differs is written all
    the same, and its report says so. A proof comes with node_data.json, the errors as an overlay
    for Model Explorer.

    Args:
        path: the ONNX file, or what `export` takes: a name of `onnx2mvit export --list`, a Hugging
            Face repository, or a .pt file, which is exported first, to where `export` does so by
            default, at `image_size` if that is one. What is a file is always a file.
        output: the folder in which that of the model is made.
        name: of the model, the module and the folder; by default the file's.
        verify: whether the model is compared with onnxruntime.
        images: a folder of images to compare on; by default structured ones are made.
        inputs: how many structured ones.
        image_size: (height, width) in pixels, or "any" for one model for all sizes with two layers
            of its own; by default what the file was traced at.
        head: "keep", "none" for a model that gives the features its classifier read, or the number
            of classes of a fresh one. The comparison is made with the file's own before.
        patterns: Python files with patterns of one's own; they are executed.
        outputs: tensors of the file at which it is cut, by their names, such as those before a
            NonMaxSuppression: they are what the model gives, in this order, and what is compared.
        merge_branches: makes every sum of branches (RepVGG's, MobileOne's, FastViT's, RepViT's) one
            convolution, as are convolutions with their normalization: the form for inference. What
            is compared with the file is the merged model.
        hard_activations: puts hard swish in the place of SiLU, which phones compute faster, after
            the comparison with the file's own. The model is another function then, and is to be
            trained further (`distill`); the report says how far it is from the file. The function
            in NAME.py gets an argument `activation`, and layers keep their names.
        blocks: writes NAME.blocks.onnx as well: the rewritten graph, whose blocks are functions in
            ONNX, with the weights once more.
        preprocessing: what photographs must become before the network sees them: the path of a
            configuration (of Hugging Face, timm or ml-cvnets), values by name as `ir.Preprocessing`
            has them, or such an object; by default what the file says of itself. What the network
            does itself to its pixels is not done twice. It stands in the module and the report, and
            is what the images of a folder get.
        weights: of a network that is exported, as in `export`.
        seed: likewise.
        fold_bn: likewise.
        progress: is told each stage.
        warn: is told what one should know of an export.

    Returns:
        The model with its weights, where it lies, and the report with the proof.

    Raises:
        InvalidModelError: it is not a usable ONNX file.
        UnsupportedError: something in it is not supported.
        UsageError: `path` is no file and names no network, the name is no Python identifier,
            `images` holds none, there is no head, no tensor of a name in `outputs`, there are no
            branches to merge, no SiLU to replace, or a file of patterns cannot be used.
        MissingDependencyError: Keras has no backend here, or there is no torch for an export.
    """
    check_arguments(locals(), optional=("weights",))
    check_folder(images)
    stages = Stages(progress)
    size = image_size if isinstance(image_size, tuple) else None
    asked = ExportRequest(weights, seed, fold_bn, size)
    if made := exported(str(path), asked, stages.progress, warn or stages.progress):
        stages.seconds["export"] = round(made.seconds, 3)
    path = Path(path) if made is None else made.path
    name = name or model_name(path.stem)
    if name != model_name(name):
        raise UsageError(f"{name!r} is not a name for a module: try {model_name(name)!r}")
    own = all_patterns(patterns)
    with stages("read"):
        graph = read(path, size, own_rules(own), outputs, preprocessing)
    with stages("rewrite"):
        graph = merged(graph) if merge_branches else graph
        network = at_sizes(path, lower(lift(graph, own)), own, image_size)
        operands = (value for node in graph for value in node.inputs if value is not None)
        let_go(value.const for value in operands if value.const is not None)
    if not len(graph):
        raise UnsupportedError(f"{path} computes nothing: its output is its input or a constant")
    with stages("emit"):
        source = emit(network, name, __version__, image_size, head, hard_activations)
    own_form = own_arguments(network, hard_activations)
    target = Path(output) / name
    older = (f"{name}.blocks.onnx", NODE_DATA, FOLDER)
    with whole_folder(target, older=older) as work, ThreadPoolExecutor(1) as meanwhile:
        # onnxruntime answers while Keras is imported and the model is made, of small networks: each
        # has a copy of the weights.
        answers = meanwhile.submit(run_reference, path, network, images, inputs) if verify else None
        if answers is not None and _bytes_of(network) > ALONE:
            wait([answers])
        whole = _write(work, name, source, network, stages, image_size, own_form)
        verification, others = None, []
        if answers is not None:
            with stages("verify"):
                traced = at_size(whole, work, network.traced_size, **own_form)
                verification = prove(path, network, traced, answers.result(), stages.progress)
                if verification.passed:  # a model that is wrong has no size at which it is right
                    others = look_elsewhere(path, network, whole, work, image_size, own_form)
                data = node_data(path, verification)
                (work / NODE_DATA).write_text(json_text(data), encoding="utf-8")
                if verification.first_divergence is not None:
                    (work / FOLDER).mkdir()
                    write_repro(verification.first_divergence, work / FOLDER, work)
        if blocks:
            onnx.save(block_model(network), work / f"{name}.blocks.onnx")
        model, swap = whole, None
        if hard_activations:
            model, count = build(work, name, **own_head(network)), inputs if verify else None
            swap = look_at_swap(path, network, whole, model, work, images, count)
        if head != "keep":
            model = build(work, name)
        with stages("save"):
            save(model, work / f"{name}.keras")
        with stages("report"):
            seconds = dict(stages.seconds)
            report = conversion_report(network, model, head, swap, verification, others, seconds)
            report["onnx"]["folder"] = seen_from(target, path.parent)
            _write_report(work, report, source)
    return Conversion(model, network.blocks, target, target / f"{name}.py", report, made)


def verify(
    path: str | Path,
    target: str | Path,
    *,
    images: str | Path | None = None,
    inputs: int = INPUTS,
    patterns: Sequence[str | Path] = (),
    trust_module: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Compares a converted model with its ONNX file again.

    Where they differ, a small repro of the first layer that does is written to the folder mismatch/
    in the model's folder, or beside the .keras file, if it can be. One of an earlier time is
    removed where they no longer do. A file that was cut for the model is cut again.

    Args:
        path: the ONNX file.
        target: the folder that `convert` wrote, whose module is executed, or a .keras file.
        images: a folder of images to compare on; by default structured ones are made.
        inputs: how many structured ones.
        patterns: Python files with patterns of one's own; they are executed.
        trust_module: whether the module beside a .keras file, which a model for any size needs, is
            executed.
        progress: is told each stage.

    Returns:
        The verdict, and the errors of outputs and blocks. Those called `rel` are relative to the
        largest value of the right tensor, the others are absolute.

    Raises:
        InvalidModelError: one of the two is not usable, or they are different networks.
    """
    check_arguments(locals())
    check_folder(images)
    path, target, stages = Path(path), Path(target), Stages(progress)
    with stages("read"):
        network = inspect_for(path, target, patterns, how_read(target, path), trust_module)
        hard = bool(report_beside(target).get("hard_activations"))
    with ThreadPoolExecutor(1) as meanwhile:
        answers = meanwhile.submit(run_reference, path, network, images, inputs)
        with stages("load"):
            model = load_traced(target, network, trust_module, hard)
        with stages("verify"):
            result = prove(path, network, model, answers.result(), stages.progress)
    renew_repro(target, result.first_divergence, stages.progress)
    return result


def _bytes_of(network: Network) -> int:
    return sum(array.nbytes for array in block_weights(network.blocks).values())


def _write(
    work: Path,
    name: str,
    source: str,
    network: Network,
    stages: Stages,
    image_size: ImageSize | None,
    own_form: Mapping[str, Any],
) -> keras.Model:
    """Writes source and weights, and makes the model as the file has it."""
    (work / f"{name}.py").write_text(source, encoding="utf-8")
    origin = network.graph.source
    metadata = {"source": origin.file, "sha256": origin.sha256, "weights": origin.weights}
    weights = block_weights(network.blocks)
    save_weights(weights, work / f"{name}.safetensors", metadata)
    fits = single_operators_fit(network, image_size)
    with stages("build"), fits, building(network.patterns):
        model = build(work, name, **own_form)
    check_weights(model, weights, "the file")
    return model


def _write_report(work: Path, report: dict[str, Any], source: str) -> None:
    (work / MARK).write_text(json_text(report), encoding="utf-8")
    (work / "report.html").write_text(render(report, source), encoding="utf-8")
