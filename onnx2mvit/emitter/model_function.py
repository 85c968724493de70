"""The function that makes the whole model: one line for each block at the top."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from onnx2mvit.emitter.functions import FORWARDED, Function, model_functions
from onnx2mvit.emitter.loops import Statement, loops
from onnx2mvit.emitter.signature import LAYERS, Signature, pixel_layers
from onnx2mvit.emitter.variables import Variables
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, LayerName, Literal, Name, Operand, call, source
from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.ir.image_size import ImageSize
from onnx2mvit.ir.layout import Order, axes_between
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.activation import SILU
from onnx2mvit.lifter.head import CLASSES, HeadChoice, head_of
from onnx2mvit.lifter.naming import flat_name, interface_names, layer_name
from onnx2mvit.lowering import wanted_orders

GLOBAL = (
    *("PREPROCESSING", "PYRAMID", "json", "keras", "layers", "np", "ops", "pathlib"),
    *model_functions(),
)
LOCAL = ("i", "inputs", "model", "pixels", "x", *FORWARDED)
ARGUMENTS = (
    *("input_shape", "preprocessing", "num_classes", "include_top", "pooling"),
    *("nested", "weights", "name"),
)
# Not to be the name of the model function, and not to be that of a variable in it.
RESERVED = frozenset({*GLOBAL, *keyword.kwlist, *dir(builtins)})
TAKEN = RESERVED | {*LOCAL, *ARGUMENTS}


class ModelFunction:
    """Writes the function `name`; `functions` are those of the blocks, by name."""

    def __init__(
        self,
        network: Network,
        functions: dict[str, Function],
        name: str,
        image_size: ImageSize | None,
        head: HeadChoice = "keep",
        hard_activations: bool = False,
    ) -> None:
        self.network = network
        self.graph: Graph = network.graph
        self.layouts = network.layouts
        self.functions = functions
        self.name = name
        self.head = head_of(network)
        top = [functions[b.pattern.keras] for b in network.blocks if b.pattern.keras is not None]
        forwarded = {key for key in FORWARDED for function in top if key in function.defaults}
        self.signature = Signature(
            network, name, self.head, head, image_size, forwarded, hard_activations
        )
        depends = any(function.depends_on_size for function in functions.values())
        self.needs_size = image_size != "any" and depends
        self.taken_in: dict[Value, str] = {}  # the variables of the inputs
        self.input_names = interface_names(network, "input")
        self.output_names = interface_names(network, "output")
        called = {
            name.text
            for block in network.blocks
            if block.code is not None
            for name in block.code.expr.find(Name)
        }
        # No names for variables.
        taken = {*TAKEN, *self.signature.names, *functions, *called}
        self.variables = Variables(network.blocks, self.graph.outputs, taken)

    def text(self) -> str:
        """The source of the function."""
        signature, head = self.signature, self.head
        lines = [*signature.checks(self.needs_size), *self._inputs()]
        last, read = (
            ((), ()) if head is None or not signature.separable else (head.blocks, head.features)
        )
        lines += self._lines(block for block in self.network.blocks if block not in last)
        if last:
            orders = dict(pair for block in last for pair in wanted_orders(self.network, block))
            features = [self._in_order(value, orders[value]) for value in read]
            made = self._lines(last)
            answer = self._answer()
            made += [f"x = {answer}"] if answer != "x" else []
            lines += ["if include_top:", *(f"    {line}" for line in made)]
            lines += ["else:", f"    x = {self._features(features)}"]
            answer = "x"
        else:
            answer = self._answer()
            answer = f"pooled({answer}, pooling)" if signature.pools else answer
        names = ", ".join(self.taken_in[value] for value in self.graph.inputs)
        inputs = names if len(self.graph.inputs) == 1 else f"[{names}]"
        lines += [
            f"model = keras.Model({inputs}, {answer}, name=name)",
            "if not nested:",
            "    model = flatten(model)",
            "if weights is not None:",
            f"    load_weights(model, weights{self._fresh()})",
            "return model",
        ]
        body = "\n    ".join([f'"""{signature.docstring()}"""', *lines])
        return f"def {self.name}({signature.defaults()}):\n    {body}\n"

    def _features(self, features: Sequence[KerasExpr]) -> str:
        """What the model gives without its head."""
        first, *others = map(source, features)
        if not others:
            return f"pooled({first}, pooling)"
        return f"[pooled(y, pooling) for y in [{', '.join([first, *others])}]]"

    def _fresh(self) -> str:
        if self.head is None:
            return ""
        own = self.head.num_classes
        return f", fresh=() if num_classes == {own} else {self.head.layers!r}"

    def _lines(self, blocks: Iterable[Block]) -> list[str]:
        """A line for each block, or for several that are alike."""
        statements: list[Statement] = []
        for block in blocks:
            made = self._call(block)
            self.variables.read_by(block)
            if block.code is not None and block.code.results:
                statements += self._several(block, block.code, made)
                continue
            if isinstance(made, Name):  # another order of the same tensor
                self.variables[block.output] = made.text
                continue
            variable = self.variables.next_after(_stem(block))
            self.variables[block.output] = variable
            statements.append(Statement(variable, made, layer_name(block, block.name)))
        return loops(statements)

    def _several(self, block: Block, code: KerasCode, made: KerasExpr) -> Iterator[Statement]:
        """The lines of an operator with several outputs: its call, and what its parts become."""
        layer, stem = layer_name(block, block.name), _stem(block)
        read = {operand for result in code.results for operand in result.expr.find(Operand)}
        parts = [
            self.variables.free(f"{stem}_{part}") if Operand(index) in read else "_"
            for index, part in enumerate(code.parts)
        ]
        yield Statement(", ".join(parts), made, layer)
        for result in code.results:
            variable, expr = (
                self.variables.free(f"{stem}_{result.name}"),
                result.expr.bind([*map(Name, parts)]),
            )
            self.variables[result.value] = variable
            if expr != Name(variable):
                yield Statement(variable, expr, layer)

    def _answer(self) -> str:
        """The outputs of the network, several as a list."""
        constant = [value.name for value in self.graph.outputs if value not in self.variables]
        if constant:
            raise UnsupportedError(f"output {constant[0]!r} does not depend on the input")
        outputs = [
            source(self._handed_out(value, name))
            for name, value in zip(self.output_names, self.graph.outputs, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else f"[{', '.join(outputs)}]"

    def _handed_out(self, value: Value, name: str) -> KerasExpr:
        """An output; Keras calls it after the layer that gives it, so one by that name does."""
        answer, maker = self._in_order(value, self.network.order(value)), self.graph.producer(value)
        alone = len(self.graph.outputs) == 1 and isinstance(answer, Name)
        if alone and isinstance(maker, Block) and (maker.code is None or maker.code.is_layer):
            return answer  # a layer of the network
        return call("layers.Identity", name=name)(answer)

    def _inputs(self) -> Iterator[str]:
        """The lines for what the model takes: one image, or tensors at large."""
        batch = self.network.batch
        for name, value in zip(self.input_names, self.graph.inputs, strict=True):
            variable = "inputs"
            if len(self.graph.inputs) > 1:
                variable = self.variables.free(name.lower())
            self.variables[value] = variable
            self.variables.keep(value)
            order, shape = self.network.order(value), value.shape or ()
            if value is self.network.image:
                shown = "input_shape" if batch is None else f"input_shape, batch_size={batch}"
            elif self.layouts[value].batch is None:
                shown = f"batch_shape={tuple(shape[axis] for axis in order)}"
            else:
                shown = repr(tuple(shape[axis] for axis in order[1:]))
            dtype = value.dtype if value.dtype is not None and value.dtype.kind != "f" else None
            typed = f", dtype={dtype.name!r}" if dtype is not None else ""
            self.taken_in[value] = variable
            yield f"{variable} = keras.Input({shown}{typed}, name={name!r})"
            if value is self.network.image and self.signature.preprocessed:
                self.variables[value] = "pixels"
                made = pixel_layers(self.network, "pixels")
                yield f"pixels = {variable}"
                yield f"if {LAYERS}:"
                yield from (f"    {line}" for line in made)

    def _in_order(self, value: Value, order: Order) -> KerasExpr:
        """The variable that holds a tensor, transposed if its axes have another order."""
        variable, have = Name(self.variables[value]), self.layouts[value].order
        if have == order:
            return variable
        return call("ops.transpose", variable, axes_between(have, order))

    def _call(self, block: Block) -> KerasExpr:
        """What computes a block's output."""
        inputs = [self._in_order(*wanted) for wanted in wanted_orders(self.network, block)]
        if block.code is not None:
            return block.code.expr.changed(self._chosen).bind(inputs)
        if block.operands:
            given = dict(zip(block.inputs, inputs, strict=True))
            inputs = [given[value] for value in block.operands]
        pattern = block.pattern
        if pattern.keras is None:
            params = {key: self._value(block, key) for key in block.params}
            made = call(f"layers.{pattern.layer}", **params, name=LayerName())
            return made(*inputs)
        function = self.functions[pattern.keras]
        required = function.required[len(inputs) :]
        must = (*required, *function.keywords)
        missing = [key for key in must if key not in block.params]
        if missing:
            raise UnsupportedError(
                f"block {block.name!r} ({block.kind}) stands where its {missing[0]} is not known"
            )
        defaults, left_out = self._defaults(function), self._left_out(function)
        options = {key: self._value(block, key) for key in must}
        first = [options.pop(key) for key in required[:1]]
        for key, value in block.params.items():
            if key in must or key in left_out:
                continue
            chosen = self._chosen(Literal(value))
            if value != defaults.get(key, _Missing) or isinstance(chosen, Name):
                options[key] = chosen
        forwarded = [key for key in FORWARDED if key in function.defaults]
        options |= {key: Name(key) for key in forwarded if key in self.signature.names}
        if function.takes_name:
            options["name"] = LayerName()
        return call(function.name, *inputs, *first, **options)

    def _defaults(self, function: Function) -> dict[str, Any]:
        """Those of a function, and of all to which it hands further arguments on."""
        further = (self._defaults(self.functions[name]) for name in function.forwards)
        return {key: value for each in further for key, value in each.items()} | function.defaults

    def _left_out(self, function: Function) -> set[str]:
        """What pruning took from a function, or from one to which it hands further arguments on."""
        further = {
            key for name in function.forwards for key in self._left_out(self.functions[name])
        }
        own = {*function.required, *function.keywords, *function.defaults}
        return (further - own) | function.left_out

    def _value(self, block: Block, key: str) -> KerasExpr:
        named = key in ("num_classes", CLASSES.get(block.kind))
        ours = self.head is not None and block in self.head.blocks
        if named and ours and block.params[key]:  # what says nothing of classes has none
            return Name("num_classes")
        return self._chosen(Literal(block.params[key]))

    def _chosen(self, expr: KerasExpr) -> KerasExpr:
        """An expression, or the argument for the activation where it names the one of the file."""
        chosen = "activation" in self.signature.names and expr == Literal(SILU)
        return Name("activation") if chosen else expr


class _Missing:
    """No default: unlike any value."""


def _stem(block: Block) -> str:
    """What variables that hold results of a block begin with."""
    return flat_name(layer_name(block, block.name)).lower()
