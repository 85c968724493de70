"""Stage three: the block tree is written as one Python module that imports nothing but Keras.

The module holds the functions of the blocks that the network uses and one function that makes
the model, in the style of keras.applications. Nothing of the file reaches the code other than
as numbers and as names made of ASCII letters, digits, dots and underscores.
"""

from __future__ import annotations

import ast
import operator
import re
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache

import networkx

from onnx2mvit.emitter.functions import (
    Function,
    called_model_functions,
    function_names,
    operator_functions,
)
from onnx2mvit.emitter.model_function import RESERVED, ModelFunction
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.ir.block import BlockType
from onnx2mvit.ir.graph import Source
from onnx2mvit.ir.image_size import ImageSize, multiples
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.activation import check_silu
from onnx2mvit.lifter.head import HeadChoice, check_choice, pyramid
from onnx2mvit.lifter.naming import identifier, relative_names
from onnx2mvit.matcher.diagnosis import Explainer, sentence
from onnx2mvit.reader.cut import advice

EXPLAINED = 60  # of the nodes that no pattern took, so many are looked into for the message
# ast.parse fails now and then where two threads call it (CPython 3.11.7, gh-106905).
ONE_AT_A_TIME = threading.Lock()
LEVELS = "# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them."
PHOTOGRAPHS = "# Of photographs: onnx2mvit.preprocess(files, preprocessing=PREPROCESSING)."
MOST_LAYERS = 3_000  # at the top of a model, wherever they stand
DEEPEST = 800  # Keras calls itself for each, and Python stops at 1,000 calls


def emit(
    network: Network,
    name: str,
    version: str,
    image_size: ImageSize | None = None,
    head: HeadChoice = "keep",
    hard_activations: bool = False,
) -> str:
    """Writes the network as the source of a Python module; `name` is that of its function.

    `image_size` is the height and width of the default `input_shape`, or "any" for a model
    that takes images of any size; by default those that the file was traced at. `head` is the
    default of what is done with the classifier: "keep", "none", or a number of classes. With
    `hard_activations` the function takes what stands in the place of SiLU, by default hard swish.

    Raises:
        UnsupportedError: some nodes cannot be converted, and the message names the first of
            them; or the network holds for another size alone than the one asked for.
        UsageError: the network has no head to leave out or to replace, or no SiLU.
    """
    with ONE_AT_A_TIME:
        return _formatted(unformatted(network, name, version, image_size, head, hard_activations))


def unformatted(
    network: Network,
    name: str,
    version: str,
    image_size: ImageSize | None = None,
    head: HeadChoice = "keep",
    hard_activations: bool = False,
) -> str:
    """The same before it is brought into form, which takes longer than all else."""
    from onnx2mvit.emitter.pattern_functions import functions_of

    check_choice(network, head)
    if hard_activations:
        check_silu(network)
    refuse_leftovers(network)
    refuse_deep(network)
    refuse_other_sizes(network, image_size)
    any_size = image_size == "any"
    roles = relative_names(network.blocks)
    functions = functions_of(network.blocks, roles, any_size)
    if any_size:
        refuse_any_size(network, functions)
    if name in functions:
        raise UsageError(f"a pattern has a function {name!r}: choose another --name")
    model = ModelFunction(network, functions, name, image_size, head, hard_activations).text()
    parts = [function.layers for function in functions.values() if function.layers]
    parts += [function.text for function in functions.values()]
    parts += operator_functions(model, functions)
    levels = pyramid(network)
    if levels:
        parts.append(f"{LEVELS}\nPYRAMID = {levels!r}\n")
    if not network.preprocessing.is_assumed and network.image is not None:
        how = network.preprocessing.as_dict()
        if isinstance(image_size, tuple):
            how["size"] = list(image_size)
        parts.append(f"{PHOTOGRAPHS}\nPREPROCESSING = {how!r}\n")
    body = "\n\n".join([*parts, model, *called_model_functions(model)])
    keras_parts = ", ".join(part for part in ("layers", "ops") if f"{part}." in body)
    head_lines = [f'"""{_docstring(network, name, version)}"""\n']
    head_lines += ["import json\nimport pathlib\n", "import keras\nimport numpy as np"]
    head_lines += [f"from keras import {keras_parts}"] if keras_parts else []
    return "\n".join([*head_lines, "", body])


def pattern_source(pattern: BlockType) -> str:
    """The function of a pattern as it lands in a module, with all of its options."""
    from onnx2mvit.emitter.pattern_functions import emitted

    return _formatted(emitted(pattern))


def _formatted(source: str) -> str:
    return "\n\n".join(map(_formatted_piece, _pieces(source)))


@lru_cache(maxsize=1024)  # most modules have most of their functions in common
def _formatted_piece(source: str) -> str:
    import black  # it takes memory and time that `inspect` saves

    return black.format_str(source, mode=black.Mode(line_length=100, magic_trailing_comma=False))


def _pieces(source: str) -> Iterator[str]:
    """The functions and classes of a module, with the comments above, and what is between them."""
    lines, begin, end = source.splitlines(keepends=True), 0, 0
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min(each.lineno for each in (node, *node.decorator_list)) - 1
            while first > end and lines[first - 1].startswith("#"):
                first -= 1
            if piece := "".join(lines[begin:first]).strip():
                yield piece
            yield "".join(lines[first : node.end_lineno])
            begin = node.end_lineno or first
        end = node.end_lineno or end
    if piece := "".join(lines[begin:]).strip():
        yield piece


def refuse_leftovers(network: Network) -> None:
    """Raises UnsupportedError for what cannot be converted: for the node closest to a pattern.

    What reads tensors of unknown shape is refused for that, and is not the cause.
    """
    if not network.refused:
        return
    explainer = Explainer(network.graph, network.patterns)
    causes = [
        node
        for node in network.refused
        if all(value is None or value.shape is not None for value in node.inputs)
    ]
    tried = [(explainer.closest(node), node) for node in (causes or [*network.refused])[:EXPLAINED]]
    failure, first = max(tried, key=lambda pair: pair[0].fitted if pair[0] is not None else -1)
    named = failure.node if failure is not None else None
    node = named if named is not None and named in network.refused else first
    count = len(network.refused)
    others = f" (and {count - 1} more)" if count > 1 else ""
    module = f", in module {node.scope!r}" if node.scope else ""
    closest = f" The closest pattern is {sentence(failure)}." if failure is not None else ""
    raise UnsupportedError(
        f"node {node.name or node.output.name!r} ({node.op}, opset {network.graph.source.opset}"
        f"{module}) is not part of a known block{others}, and as a single operator it cannot be "
        f"converted: {network.refused[node]}.{closest}{advice(network.cut_points)} "
        "See `onnx2mvit inspect` for all of them."
    )


def refuse_deep(network: Network) -> None:
    """Raises UnsupportedError for more layers than a Keras model can be made of."""
    count = len(network.blocks)
    if count > MOST_LAYERS:
        raise UnsupportedError(
            f"the network has {count:,} layers and blocks at its top, more than {MOST_LAYERS:,}"
        )
    deep = 1 + networkx.dag_longest_path_length(network.graph.nx)
    if deep > DEEPEST:
        raise UnsupportedError(
            f"the network has {deep:,} layers one after the other, and Keras, which calls itself "
            f"for each of them, takes no more than {DEEPEST}"
        )


def refuse_other_sizes(network: Network, image_size: ImageSize | None) -> None:
    """Raises UnsupportedError if a block holds for the traced size alone."""
    traced, steps = network.traced_size, network.size_steps
    if image_size is None:
        return
    if traced is None:
        raise UnsupportedError(
            "an image size was asked for, and the network does not take one image whose height "
            "and width are known"
        )
    if image_size == traced:
        return
    if network.fixed_by is not None:
        height, width = traced
        how = "Ask for" if network.graph.source.dynamic_size else "Export the network at"
        raise UnsupportedError(
            f"the model can only be made for images of {height}×{width}: {network.fixed_why}. "
            f"{how} the size that you need."
        )
    if steps != (1, 1) and (image_size == "any" or any(map(operator.mod, image_size, steps))):
        raise UnsupportedError(
            f"the model can only be made for images of sizes that its windows fill: ask for "
            f"{multiples(steps)}"
        )


def refuse_any_size(network: Network, functions: Mapping[str, Function]) -> None:
    """Raises UnsupportedError if the function of a block must know the size of the images."""
    for block in network.blocks:
        if block.pattern.keras and "input_shape" in functions[block.pattern.keras].defaults:
            raise UnsupportedError(
                f"the model cannot be made for images of any size: {block.name!r} ({block.kind}) "
                "makes an image of tokens, and height and width of that follow from those of the "
                "images. Ask for one size; the module makes it for others by input_shape."
            )


def model_name(stem: str) -> str:
    """A file's stem as the name of a Python function: "mobilevit-xs.v2" is "mobilevit_xs_v2"."""
    name = re.sub(r"_+", "_", identifier(stem)).strip("_").lower()
    if not name or name[0].isdigit() or name in function_names() | RESERVED:
        name = f"model_{name}".rstrip("_")
    return name


def _docstring(network: Network, name: str, version: str) -> str:
    source = network.graph.source
    return (
        f"{name}, lifted from {_text(source.file)} by onnx2mvit {version}.\n\n"
        f"Source: {_text(source.file)}, opset {source.opset}, {_text(source.producer)}\n"
        f"SHA-256: {source.sha256}\n"
        f"{_how_read(source)}"
        f"Weights: {_text(source.weights)}; by layer path in {name}.safetensors\n"
    )


def _how_read(source: Source) -> str:
    names = ", ".join(map(_text, source.outputs))
    cut = f"Cut at: {names}\n" if names else ""
    return cut + (f"Merged: {source.merged} sums of branches\n" if source.merged else "")


def _text(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_.,:;+()/ -]", "?", text)[:200]
