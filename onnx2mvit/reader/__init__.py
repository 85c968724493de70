"""Stage one, read: an ONNX file becomes a `Graph` with concrete shapes and one spelling.

In: a path. Out: `ir.graph.Graph`, in ONNX's operators and order of axes. `read` below is the list
of its passes; `rules` bring what exporters write differently to one spelling.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from onnx2mvit.base.collector import collector_paused
from onnx2mvit.base.quiet import loggers_at
from onnx2mvit.ir.graph import Graph, Node, Source
from onnx2mvit.ir.window import window_of
from onnx2mvit.matcher import Rule
from onnx2mvit.reader.as_graph import as_graph
from onnx2mvit.reader.counted import may_count, refuse_counted
from onnx2mvit.reader.file import check_file, load, source_of, upgraded
from onnx2mvit.reader.leading import without_leading
from onnx2mvit.reader.preprocessing import Given, given_preprocessing
from onnx2mvit.reader.rules import unify
from onnx2mvit.reader.shapes import (
    TRACE_BATCH,
    batch_axes,
    channel_axes,
    forget_shapes,
    make_concrete,
)
from onnx2mvit.reader.simplify import simplify
from onnx2mvit.reader.validation import check_data, check_operators, check_text

__all__ = ["graph_of", "read"]

LARGE = 1 << 26  # bytes of weights, which are looked after when they are read


@collector_paused()
@loggers_at(logging.ERROR, "onnxscript", "onnx_ir")
def read(
    path: str | Path,
    size: tuple[int, int] | None = None,
    rules: Sequence[Rule] = (),
    outputs: Sequence[str] = (),
    preprocessing: Given = None,
) -> Graph:
    """Reads an ONNX file.

    Args:
        path: of the file; its external data is looked for in the same folder.
        size: height and width of its images where the file leaves them open, by default
            `shapes.TRACE_SIZE` each.
        rules: a user's, which are applied beside our own.
        outputs: tensors at which it is cut, by their names in the file; none for all of it.
        preprocessing: what a user says that its images want; by default what the file says.

    Returns:
        The graph, in float32 and the file's order of axes, with concrete shapes throughout: a
        dynamic batch is `shapes.TRACE_BATCH`.

    Raises:
        InvalidModelError: not a file, not ONNX, or ONNX that its own checker refuses.
        UnsupportedError: an opset, input or data type that we do not convert.
        UsageError: the file has no tensor of one of these names.
    """
    path = Path(path)
    digest = check_file(path)  # ONNX's checker first: what follows may rely on it
    model = load(path, outputs)
    check_data(model)  # what the checker lets pass, and what would end the process
    check_text(model, path.name)
    check_operators(model, path.name)
    source = source_of(path, model, digest, outputs)  # before anything is changed
    model = upgraded(path, model, outputs)  # to operators of an opset that rules and patterns know
    batch, channels = batch_axes(model), channel_axes(model)
    counts = source.dynamic_batch and may_count(model)
    make_concrete(model, path, size)  # inputs of a size that folding can compute with
    graph = graph_of(model, source, rules, batch)
    if counts:
        again = upgraded(path, load(path, outputs), outputs)
        make_concrete(again, path, size, TRACE_BATCH + 1)
        refuse_counted(graph, graph_of(again, source, rules, batch))
    graph.channel_axes = {v: channels[v.name] for v in graph.inputs if v.name in channels}
    tensors = (value.const_value for value in model.graph.initializers.values())
    held = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    del model
    if held > LARGE:
        gc.collect()  # it is one large cycle, with all that was read and computed of the weights
    wanted = given_preprocessing(preprocessing, source.preprocessing)
    graph.source = replace(graph.source, preprocessing=without_leading(graph, wanted))
    return graph


def graph_of(
    model: ir.Model,
    source: Source,
    rules: Sequence[Rule] = (),
    batch: Mapping[str, int | None] | None = None,
) -> Graph:
    """The graph of a model whose inputs have concrete shapes, whatever they are.

    Args:
        model: it is changed.
        source: what is known of the file.
        rules: the user's.
        batch: which axis of each input holds the batch, by its name; the first of all if not given.

    Raises:
        InvalidModelError: it cannot be simplified, or it is not a graph.
        UnsupportedError: it holds control flow, or weights that are not float32.
    """
    names = [value.name or "" for value in model.graph.outputs]
    forget_shapes(model)  # the exporter's, which hold for its batch and size alone
    simplify(model, source.file)  # no functions, no constant expressions, shapes inferred anew
    graph = as_graph(model, source)
    graph.output_names = names  # where two outputs are one value, simplifying keeps one name
    if batch is not None:
        graph.batch_axes = {value: batch[value.name] for value in graph.inputs}
    graph.folded = len(graph)
    unify(graph, users=rules)  # the rules, until what every exporter writes has one spelling
    frozen = not source.dynamic_size  # else what is padded by a number is so at every size
    graph.pads_like_tensorflow = frozen and any(map(_pads_more_at_the_end, graph.of(["Conv"])))
    return graph


def _pads_more_at_the_end(conv: Node) -> bool:
    image = conv.inputs[0]
    if image is None or image.shape is None or "pads" not in conv.attrs:
        return False
    try:
        window = window_of(conv)
    except ValueError:  # it is refused, with its name, where it is converted
        return False
    odd = any(before != after for before, after in window.pads)
    strided = max(window.strides) > 1  # else PyTorch pads an even kernel so too
    return odd and strided and window.pads_as_same(image.shape[2:])
