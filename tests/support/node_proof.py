"""The proof of single operators: cases go the way of a file, and the answers are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnx2mvit.base.backend import import_keras
from onnx2mvit.builder.weights import block_weights, check_weights, variables_by_path
from onnx2mvit.emitter.emit import unformatted
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.ir.expr import Name
from onnx2mvit.ir.graph import Graph
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.reader import graph_of
from onnx2mvit.reader.file import source_of
from onnx2mvit.runtimes.layouts import as_the_file
from tests.support.node_cases import Array, Case, older
from tests.support.node_collection import cases
from tests.support.run_graph import answers

if TYPE_CHECKING:
    import keras

MESSAGE = 300  # characters of it


class Refused(Exception):  # noqa: N818 - it is an answer, not an error
    """Raised where a case is not converted, with the reason."""


@dataclass
class Proof:
    """What became of the cases of an operator, by their names.

    `any_batch` are those that hold for any number of images as well; `failed` are neither right
    nor refused. `becomes` is what Keras calls it.
    """

    operator: str
    passed: list[str] = field(default_factory=list)
    any_batch: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    becomes: set[str] = field(default_factory=set)


def prove(operator: str, bodies: bool | None = None) -> Proof:
    """Runs all cases of an operator, in all its versions.

    `bodies` False leaves out those of its body as a function, True all others; then they are
    run in one form alone, as they are large and prove nothing of the operator itself.
    """
    proof = Proof(operator)
    for newest in cases().get(operator, ()):
        if bodies is not None and newest.is_body != bodies:
            continue
        runs = Runs(proof, one_form=bodies is True)
        for case in (newest, *older(newest)):
            try:
                runs.add(case)
            except Refused as reason:
                proof.refused[case.name] = str(reason)
            except Exception as error:  # whatever it is, it is told with the case's name
                text = " ".join(f"{type(error).__name__}: {error}".split())
                proof.failed[case.name] = text[:MESSAGE]
    return proof


@dataclass(frozen=True)
class Form:
    """A case as a file, which is read once."""

    case: Case

    @cached_property
    def graph(self) -> Graph:
        """The graph as it was read."""
        model = ir.from_proto(self.case.file())
        return graph_of(model, source_of(Path("case.onnx"), model))


@dataclass(frozen=True)
class Converted:
    """A case on its way to Keras: its network and the emitted source."""

    form: Form
    network: Network
    source: str

    @property
    def case(self) -> Case:
        """The case that it is of."""
        return self.form.case

    def model(self, **arguments: Any) -> keras.Model:
        """The Keras model, with its weights."""
        import_keras()
        module = ModuleType("net")
        exec(self.source, module.__dict__)
        model: keras.Model = module.net(weights=None, **arguments)
        weights = block_weights(self.network.blocks)
        check_weights(model, weights, "the network")
        for path, variable in variables_by_path(model):
            variable.assign(weights[path])
        return model

    @property
    def code(self) -> str:
        """The source without its docstring."""
        return self.source.partition("import keras")[2]

    def same_as(self, other: Converted) -> bool:
        """True if it is the same model and must answer the same; the opset's name aside."""
        ours, theirs = block_weights(self.network.blocks), block_weights(other.network.blocks)
        return (
            self.case.asks_as(other.case)
            and self.code == other.code
            and ours.keys() == theirs.keys()
            and all(np.array_equal(ours[key], theirs[key], equal_nan=True) for key in ours)
        )


class Runs:
    """A case in its versions, newest first: what is the same model again is not run again."""

    def __init__(self, proof: Proof, one_form: bool = False) -> None:
        self.proof = proof
        self.one_form = one_form
        self.any_batch = False
        self.known: list[Converted] = []

    def add(self, case: Case) -> None:
        """Runs one version; it passes with all tensors computed, or with one of them alone.

        The body of a function is large: the first form that is converted will do, of these two.

        Raises:
            Refused: it is converted in no form.
            AssertionError: it answers otherwise than ONNX expects, in whatever form.
        """
        passed: list[Converted] = []
        refused: list[Refused] = []
        weights = case.with_weights()[: 1 if case.is_body else None]
        forms = [Form(each) for each in ([case] if self.one_form else [case, *weights])]
        for form in forms:
            if passed and case.is_body:
                break
            try:
                passed.append(convert(form, patterns=()))
            except Refused as reason:
                refused.append(reason)
                if re.match(r"operator \w+ is not known", str(reason)):
                    break
        if not passed:
            raise refused[:2][-1]  # of the form that files have: one tensor and weights
        if any(self._is_new(converted) for converted in passed):
            for converted in passed:
                self._run(converted)
                compare_elsewhere(converted)
                recognised = convert(converted.form, patterns=None)
                if any(block.code is None for block in recognised.network.blocks):
                    self._run(recognised)
            if not self.one_form:
                asked = forms if case.is_body else [converted.form for converted in passed]
                found = map(self._for_any_batch, asked)
                self.any_batch = any(found if case.is_body else [*found])
            self.proof.becomes.update(*map(_calls, passed))
        self.proof.passed.append(case.name)
        if self.any_batch:
            self.proof.any_batch.append(case.name)

    def _is_new(self, converted: Converted) -> bool:
        return not any(converted.same_as(other) for other in self.known)

    def _run(self, converted: Converted, any_batch: bool = False) -> None:
        if self._is_new(converted):
            compare(converted, any_batch)
            self.known.append(converted)

    def _for_any_batch(self, form: Form) -> bool:
        """True if the first axis may be a batch of any size; each image must answer by itself."""
        case = form.case
        lengths = {case.inputs[name].shape[:1] for name in case.data}
        if len(lengths) > 1 or () in lengths or (0,) in lengths:
            return False
        try:
            converted = convert(form, patterns=(), batch_axis=0)
        except Refused:
            return False
        self._run(converted, any_batch=True)
        return True


def convert(
    form: Form, patterns: Sequence[Pattern] | None, batch_axis: int | None = None
) -> Converted:
    """The case as far as it can be had without Keras; Refused if it is not converted.

    With a batch axis, the batch is dynamic.
    """
    try:
        graph = form.graph.copy()
        graph.source = replace(graph.source, dynamic_batch=batch_axis is not None)
        network = lower(lift(graph, patterns), batch_axis)
        for node in network.refused:
            raise Refused(_reason(node.op, network.refused[node]))
        return Converted(form, network, unformatted(network, "net", "test"))
    except Onnx2mvitError as error:
        raise Refused(str(error)) from error


def _reason(op: str, reason: str) -> str:
    return reason if op in reason else f"{op}: {reason}"


def compare(converted: Converted, any_batch: bool = False) -> None:
    """Fails if the model answers otherwise than ONNX expects.

    For any batch, it is asked for all images twice over, and for the first alone.
    """
    case, network, model = converted.case, converted.network, converted.model()
    inputs = {value.name: case.inputs[value.name] for value in network.graph.inputs}
    axes = [network.layouts[value].batch for value in network.graph.outputs]
    images = len(next(iter(inputs.values()))) if any_batch else 0
    run = as_the_file(model, network)
    batches = [slice(1), [*range(images), *range(images)]] if any_batch else [None]
    for batch in batches:
        given = {name: _images(array, images, batch, 0) for name, array in inputs.items()}
        found = run(given).values()
        for answer, expected, axis in zip(found, case.expected, axes, strict=True):
            assert_same(answer, _images(expected, images, batch, axis), case)


def compare_elsewhere(converted: Converted) -> None:
    """Fails if the code holds for one size of images alone and does not say so.

    At another height and width the answer is for onnxruntime to say, if it has one.
    """
    case, network = converted.case, converted.network
    shape = case.inputs[case.data[0]].shape
    if len(case.data) > 1 or network.image_shape is None or network.fixed_by is not None:
        return
    batch, channels, *size = shape[0], shape[1], shape[2] + 2, shape[3] + 3
    images = np.random.default_rng(0).uniform(0.1, 0.9, (batch, channels, *size))
    file = case.file()
    for axis, length in zip((2, 3), size, strict=True):
        file.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
    for output in file.graph.output:
        output.type.tensor_type.ClearField("shape")
    given = images.astype(np.float32)
    try:
        expected = answers(file, {case.data[0]: given})
    except Exception:  # onnxruntime has an exception of its own for each complaint
        return
    model = converted.model(input_shape=(*size, channels))
    for ours, theirs in zip(as_the_file(model, network)(given).values(), expected, strict=True):
        assert_same(ours, theirs, replace(case, atol=1e-5))


def _images(array: Array, images: int, batch: Any, axis: int | None) -> Array:
    """Some images of a batch; one may take up several places in a row on the axis."""
    if batch is None:
        return array
    assert axis is not None, "the batch is lost"
    ahead, behind = array.shape[:axis], array.shape[axis + 1 :]
    parts = array.reshape(*ahead, images, array.shape[axis] // images, *behind)
    chosen = parts[(*[slice(None)] * axis, batch)]
    return chosen.reshape(*ahead, chosen.shape[axis] * chosen.shape[axis + 1], *behind)


def assert_same(answer: Array, expected: Array, case: Case) -> None:
    """Floats within the case's tolerance, all else exactly; integers may have any width."""
    kinds = [each.dtype.kind.replace("u", "i") for each in (answer, expected)]
    assert kinds[0] == kinds[1], f"{answer.dtype}, not {expected.dtype}"
    assert answer.shape == expected.shape, f"{answer.shape}, not {expected.shape}"
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, case.rtol, case.atol)
    else:
        np.testing.assert_array_equal(answer, expected)


def _calls(converted: Converted) -> Iterator[str]:
    """The functions and layers of Keras that stand for the operator, or for what it is made of."""
    operator = converted.case.operator
    codes = [block for block in converted.network.blocks if block.code is not None]
    own = [block for block in codes if block.kind == operator]
    for block in own if own or converted.case.is_body else codes:
        if block.code is not None:
            yield from (name.text for name in block.code.expr.find(Name))
