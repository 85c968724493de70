"""Stage three: the block tree is written as one Python module that imports nothing but Keras.

The module holds the functions of the blocks that the network uses and one function that makes
the model, in the style of keras.applications. Nothing of the file reaches the code other than
as numbers and as names made of ASCII letters, digits, dots and underscores.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections import Counter

import black

from onnx2mvit.block import Block
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.graph import Graph, Value
from onnx2mvit.naming import identifier, layer_name, relative_names
from onnx2mvit.registry import builtin_patterns
from onnx2mvit.rewrite import Network, explain
from onnx2mvit.sizes import ImageSize, image_shape
from onnx2mvit.source import Function, any_size_definitions, functions_of

RESERVED = frozenset({"inputs", "keras", "layers", "ops", "x", *keyword.kwlist, *dir(builtins)})
EXPLAINED = 60  # of the nodes that no pattern took, so many are looked into for the message
STYLE = black.Mode(line_length=88, magic_trailing_comma=False)


def emit(network: Network, name: str, version: str, image_size: ImageSize | None = None) -> str:
    """Writes the network as the source of a Python module; `name` is that of its function.

    `image_size` is the height and width of the default `input_shape`, or "any" for a model
    that takes images of any size; by default those that the file was traced at.

    Raises:
        UnsupportedError: some nodes were not recognised; the message names the first of them.
    """
    refuse_leftovers(network)
    any_size = image_size == "any"
    functions = functions_of(network.blocks, relative_names(network.blocks), any_size)
    text = "".join(function.text for function in functions.values())
    classes = any_size_definitions()[0] if any_size else []
    layers = [source for source in classes if re.findall(r"^class (\w+)", source, re.M)[0] in text]
    model = _ModelFunction(network, functions, name, image_size)
    parts = [*layers, *(function.text for function in functions.values()), model.text()]
    body = "\n\n".join(parts)
    imports = ", ".join(part for part in ("layers", "ops") if f"{part}." in body)
    head = (
        f'"""{_docstring(network, name, version)}"""\n\nimport keras\nfrom keras import {imports}'
    )
    return black.format_str(f"{head}\n\n{body}", mode=STYLE)


def refuse_leftovers(network: Network) -> None:
    """Raises UnsupportedError for what no pattern took: for the node that came closest to one."""
    if not network.leftovers:
        return
    tried = [(explain(network, node), node) for node in network.leftovers[:EXPLAINED]]
    failure, first = max(tried, key=lambda pair: pair[0].fitted if pair[0] is not None else -1)
    node = failure.node if failure is not None and failure.node in network.leftovers else first
    count = len(network.leftovers)
    others = f" (and {count - 1} more)" if count > 1 else ""
    module = f", in module {node.scope!r}" if node.scope else ""
    closest = f" The closest pattern is {failure}." if failure is not None else ""
    raise UnsupportedError(
        f"node {node.name or node.output.name!r} ({node.op}, opset {network.graph.source.opset}"
        f"{module}) is not part of a known block{others}.{closest} "
        "See `onnx2mvit inspect` for all of them."
    )


def model_name(stem: str) -> str:
    """A file's stem as the name of a Python function: "mobilevit-xs.v2" is "mobilevit_xs_v2"."""
    name = re.sub(r"_+", "_", identifier(stem)).strip("_").lower()
    taken = {pattern.keras for pattern in builtin_patterns()} | RESERVED
    if not name or name[0].isdigit() or name in taken:
        name = f"model_{name}".rstrip("_")
    return name


def _docstring(network: Network, name: str, version: str) -> str:
    source = network.graph.source
    return (
        f"{name}, lifted from {_text(source.file)} by onnx2mvit {version}.\n\n"
        f"Source: {_text(source.file)}, opset {source.opset}, {_text(source.producer)}\n"
        f"SHA-256: {source.sha256}\n"
        f"Weights: {_text(source.weights)}; by layer path in {name}.safetensors\n"
    )


def _text(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_.,:;+()/ -]", "?", text)[:200]


class _ModelFunction:
    """The function that makes the whole model: one call for each block at the top."""

    def __init__(
        self,
        network: Network,
        functions: dict[str, Function],
        name: str,
        image_size: ImageSize | None,
    ) -> None:
        self.network = network
        self.graph: Graph = network.graph
        self.functions = functions
        self.name = name
        self.image_size = image_size
        self.readers = Counter(value for block in network.blocks for value in block.inputs)
        self.readers.update(self.graph.outputs)
        classes = {
            block.params["num_classes"]
            for block in network.blocks
            if "num_classes" in block.params and self.graph.is_output(block.output)
        }
        self.num_classes = classes.pop() if len(classes) == 1 else None

    def text(self) -> str:
        """The source of the function."""
        (image,) = self.graph.inputs
        channels, *traced = image_shape(self.network)
        height, width = (None, None) if self.image_size == "any" else self.image_size or traced
        variables = {image: "inputs"}
        lines = [f"inputs = keras.Input(input_shape, name={self._input_name(image)!r})"]
        for block in self.network.blocks:
            call = self._call(block, [variables[value] for value in block.inputs])
            variable = self._variable(block, variables)
            variables[block.output] = variable
            lines.append(f"{variable} = {call}")
        constant = [value.name for value in self.graph.outputs if value not in variables]
        if constant:
            raise UnsupportedError(f"output {constant[0]!r} does not depend on the input")
        outputs = ", ".join(variables[value] for value in self.graph.outputs)
        if len(self.graph.outputs) > 1:
            outputs = f"[{outputs}]"
        lines.append(f"return keras.Model(inputs, {outputs}, name=name)")
        arguments = [f"input_shape=({height}, {width}, {channels})"]
        if self.num_classes is not None:
            arguments.append(f"num_classes={self.num_classes}")
        arguments.append(f"name={self.name!r}")
        body = "\n    ".join([f'"""{self._summary()}"""', *lines])
        return f"def {self.name}({', '.join(arguments)}):\n    {body}\n"

    def _input_name(self, image: Value) -> str:
        """The name of the input in the file, unless a layer is called so."""
        name = identifier(image.name) or "image"
        paths = [block.path for top in self.network.blocks for block in top.walk()]
        return f"{name}_input" if name in paths else name

    def _summary(self) -> str:
        answer = "logits" if self.num_classes is not None else "features"
        return (
            f"From images (batch, height, width, channels) to {answer}.\n\n"
            "    The weights fit any `input_shape` (height, width, channels).\n    "
        )

    def _variable(self, block: Block, variables: dict[Value, str]) -> str:
        for value in block.inputs:
            self.readers[value] -= 1
        held = [value for value, variable in variables.items() if variable == "x"]
        if held and self.readers[held[-1]] > 0:
            name = identifier(block.name).lower()
            free = not name[0].isdigit() and name not in RESERVED and name not in self.functions
            return name if free else f"x_{name}"
        return "x"

    def _call(self, block: Block, inputs: list[str]) -> str:
        pattern = block.pattern
        name = layer_name(block, block.name)
        if pattern.keras is None:
            arguments = [f"{key}={value!r}" for key, value in block.params.items()]
            made = f"layers.{pattern.layer}({', '.join([*arguments, f'name={name!r}'])})"
            return f"{made}({', '.join(inputs * pattern.takes)})"
        function = self.functions[pattern.keras]
        missing = [key for key in function.required if key not in block.params]
        if missing:
            raise UnsupportedError(
                f"block {block.name!r} ({block.kind}) stands where its {missing[0]} is not known"
            )
        defaults = {
            key: value
            for forward in function.forwards
            for key, value in self.functions[forward].defaults.items()
        } | function.defaults
        arguments = list(inputs)
        for index, key in enumerate(function.required):
            value = self._value(block, key)
            arguments.append(value if index == 0 else f"{key}={value}")
        for key, value in block.params.items():
            if key not in function.required and value != defaults.get(key, _Missing):
                arguments.append(f"{key}={value!r}")
        if function.takes_name:
            arguments.append(f"name={name!r}")
        return f"{function.name}({', '.join(arguments)})"

    def _value(self, block: Block, key: str) -> str:
        if key == "num_classes" and block.params[key] == self.num_classes:
            return key
        return repr(block.params[key])


class _Missing:
    """No default: unlike any value."""
