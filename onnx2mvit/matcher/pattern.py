"""The pattern language: what a block looks like in ONNX, written like the formula in the paper.

    class InvertedResidual(Pattern):
        def onnx(self, op, x):
            y = maybe(op.ConvBnAct(x, role="expand", kernel_size=1))
            y = op.ConvBnAct(y, role="depthwise", depthwise=True)
            y = op.ConvBnAct(y, role="project", kernel_size=1, activation=None)
            return any_of(op.Add(x, y), y)

`op.Anything(...)` is a node of that ONNX operator, or a block of that kind that was recognised
before. Positional arguments are its inputs, in order; keywords are attributes (or, for a block,
hyperparameters) that must have this value or satisfy this predicate. The same variable, or the
same expression, used twice must be the same value; two variables may be one value.

A keyword may be a hyperparameter variable, as in `activation=p.activation`. Wherever one stands it
has the same value, and this becomes a parameter of the block. Three things are not one node each:

    op.Rearrange("b d (r p) (c q) -> (b p q) (r c) d", x, p=p.patch_size, q=p.patch_size)
    op.Sum(x, any_number(op.ConvBnAct(x), role="branch"), at_most_one(op.BatchNorm(x)))
    one_or_more("TransformerLayer", x, role="layer")
"""

from __future__ import annotations

import ast
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import Any, ClassVar

from onnx2mvit.ir.block import BlockType
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher.expression import Expr, Var
from onnx2mvit.matcher.language import Ops
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Array, Rooted


class Pattern(Rooted, BlockType, ABC):
    """One block: what it looks like in ONNX and what it becomes in Keras.

    A *leaf* is one Keras layer, named in `layer`; where it owns weights, `weights` hands them
    out in Keras's layout. A *composite* is made of other blocks, and never touches a tensor:
    `keras` names the function of its file whose source lands in the emitted module. Its
    parameters are that function's arguments. A parameter of the network that has no node of its
    own, as a class token, is between the two: a function makes the layer, called `name`, and
    `weights` has what the node reads.

    In that function a layer is called after its role in the pattern: `name="norm"`,
    `name=f"layer.{i}"` in a chain, `name=f"{name}_conv"` where the function is not nested. The
    emitter puts torch's names there. The role in `main` takes the name of the block itself.

    `before` names kinds that would take a part of this block if they were sought first; what would
    take a part of any other is sought `last`.
    """

    before: ClassVar[tuple[str, ...]] = ()
    last: ClassVar[bool] = False

    @abstractmethod
    def onnx(self, op: Ops, x: Var) -> Expr:
        """What it looks like, in terms of operators and lower blocks.

        Args:
            op: makes the expression of an operator or block: `op.Conv(x, constant("kernel"))`.
            x: what the block reads.

        Returns:
            The expression of the block's last node.
        """

    def params(self, m: Match) -> dict[str, Any]:
        """Further hyperparameters, read off the match; raises Mismatch where it is not this block.

        Those that are variables in `onnx` need not be here.
        """
        return {}

    def in_order(self, params: dict[str, Any]) -> dict[str, Any]:
        """Hyperparameters in the order of the Keras function's arguments, others after them.

        Where there are no variables, the order is that in which `params` gives them.
        """
        if not self.variables:
            return params
        return {name: params[name] for name in self._arguments if name in params} | params

    @cached_property
    def _function(self) -> Callable[..., Any] | None:
        """Its Keras function; it stands below the class."""
        function = getattr(sys.modules[type(self).__module__], self.keras or "", None)
        return function if inspect.isfunction(function) else None

    @cached_property
    def _arguments(self) -> tuple[str, ...]:
        function = self._function
        return () if function is None else tuple(inspect.signature(function).parameters)

    def usual(self) -> dict[str, Any]:
        """The defaults of its Keras function, and of those to which that hands further ones on.

        A leaf, which has no function, may say what is usual itself.
        """
        return {} if self._function is None else _defaults(self._function)

    def operands(self, m: Match) -> tuple[Value, ...]:
        """What a call gets, the first input first; where it is empty, the inputs as they come."""
        return ()

    def weights(self, m: Match) -> dict[str, Array]:
        """A leaf's tensors by Keras's variable name.

        They are float32 in Keras's layout: a kernel is (height, width, inputs, outputs), or
        (inputs, outputs) where it is Dense's.
        """
        return {}


@cache
def _handed_on(module: str) -> dict[str, list[str]]:
    """For each function of a module, by name: those that it calls with `**arguments`."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name: [*_called_with_keywords(function)] for function in functions}


def _called_with_keywords(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name(id=name), keywords=keywords):
                if any(keyword.arg is None for keyword in keywords):
                    yield name


@cache
def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a function's arguments, and of those that it hands on as `**arguments`."""
    arguments = inspect.signature(function).parameters.values()
    found: dict[str, Any] = {}
    if any(each.kind is each.VAR_KEYWORD for each in arguments):
        for name in _handed_on(function.__module__)[function.__name__]:
            found |= _defaults(function.__globals__[name])
    return found | {each.name: each.default for each in arguments if each.default is not each.empty}
