"""Leaves out of a Keras function what the network at hand has no use for.

A pattern with options is one function with branches, `if squeeze is not None: …`. A network in
which no block has the option gets the function without it, as one would write it by hand. What is
left keeps its comments: libcst changes a text, ast only reads it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

import libcst as cst

from onnx2mvit.emitter.syntax import code_of, defaults_of, parsed
from onnx2mvit.ir.block import Block


def forwarded(every: Sequence[ast.AST], name: str) -> set[str]:
    """The arguments that the function `name` may be given by functions with these syntax nodes.

    A call that hands on `**arguments` may hold any that is given by name somewhere, to a function
    or in a dict.
    """
    calls = [call for call in every if isinstance(call, ast.Call)]
    own = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]
    held: set[str] = set()
    if any(keyword.arg is None for call in own for keyword in call.keywords):
        own = calls
        keys = [key for node in every if isinstance(node, ast.Dict) for key in node.keys]
        held = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    return held | {
        keyword.arg for call in own for keyword in call.keywords if keyword.arg is not None
    }


def prune(
    text: str, blocks: Sequence[Block], given: Collection[str], offered: Collection[str] = ()
) -> str:
    """A function's source without branches that none of its blocks takes.

    Left out are `if option:`, `if option is not None:` and joins of them by `and`, where the
    option is an argument that is false by default and never given, and arguments used there
    alone; an else takes the place of its branch. So is `if option in (a, b):` where no block has
    one of these, or `if option not in (a, b):` where all have, and `if option > 1:` where no block
    has more. So does the branch of `if option:`
    that all blocks take, where it has an else. `a if option else b` is treated likewise. What other
    functions hand on by name is `given`; the model function has what is `offered`, for those that
    take it.
    """
    function = parsed(text)
    defaults = defaults_of(function)
    free = {name: default for name, default in defaults.items() if name not in {*given, *offered}}
    never = {
        name: default
        for name, default in free.items()
        if all(block.params.get(name, default) == default for block in blocks)
    }
    always = {
        name
        for name, default in free.items()
        if default is False and blocks and all(block.params.get(name) is True for block in blocks)
    }
    taken = {
        name: [block.params.get(name, default) for block in blocks]
        for name, default in defaults.items()
    }
    unset = {name: value for name, value in never.items() if value in (None, False)}
    left = cst.ensure_type(function.visit(_Branches(unset, always, taken)), cst.FunctionDef)
    gone = (_names(text) - _names(code_of(left))) & {*never, *always, *offered} - set(given)
    return code_of(_without(left, gone))


class _Branches(cst.CSTTransformer):
    """Takes out the branches that are never taken, and the conditions that always hold.

    `unset` are arguments that are never given, with their defaults, `always` those that are true
    in every block; which values blocks have is in `taken`.
    """

    def __init__(
        self,
        unset: Mapping[str, object],
        always: Collection[str],
        taken: Mapping[str, Collection[object]],
    ) -> None:
        super().__init__()
        self.unset, self.always, self.taken = unset, always, taken
        self.elifs: set[cst.If] = set()

    def visit_If(self, node: cst.If) -> None:
        """Remembers which statement is written as an `elif`."""
        if isinstance(node.orelse, cst.If):
            self.elifs.add(node.orelse)

    def leave_If(
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """Puts what is left of its branches in the place of the statement."""
        if original_node in self.elifs:
            return updated_node
        match self._left_of(updated_node):
            case None:
                return cst.RemoveFromParent()
            case cst.Else(body=body):
                return _statements(updated_node, body)
            case left:
                return left

    def _left_of(self, branch: cst.If | cst.Else | None) -> cst.If | cst.Else | None:
        if not isinstance(branch, cst.If):
            return branch
        rest = self._left_of(branch.orelse)
        if self._never_holds(branch.test):
            return rest
        if rest is not None and self._is_always(branch.test):
            return cst.Else(branch.body)
        return branch.with_changes(orelse=rest)

    def leave_IfExp(self, original_node: cst.IfExp, updated_node: cst.IfExp) -> cst.BaseExpression:
        """Puts the value that is taken in the place of the expression."""
        if self._never_holds(updated_node.test):
            return _in_parentheses_of(updated_node, updated_node.orelse)
        if self._is_always(updated_node.test):
            return _in_parentheses_of(updated_node, updated_node.body)
        return updated_node

    def leave_BooleanOperation(
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BaseExpression:
        """Takes out of a join what always holds."""
        if isinstance(updated_node.operator, cst.And):
            for one, other in (
                (updated_node.left, updated_node.right),
                (updated_node.right, updated_node.left),
            ):
                if self._always_holds(one):
                    return _in_parentheses_of(updated_node, other)
        return updated_node

    def _never_holds(self, test: cst.BaseExpression) -> bool:
        """True for `option` and `option is not None` where it is never given, and joins of these.

        And for `option in (…)` where no block has one of these, `option not in (…)` where all
        have, and `option > 1` where it is no more in any.
        """
        match test:
            case cst.Name(value=name):
                return name in self.unset
            case cst.BooleanOperation(left=left, operator=cst.And(), right=right):
                return self._never_holds(left) or self._never_holds(right)
            case cst.Comparison(
                left=cst.Name(value=name),
                comparisons=[cst.ComparisonTarget(cst.IsNot(), cst.Name("None"))],
            ):
                return self.unset.get(name, False) is None
            case cst.Comparison(
                left=cst.Name(value=name),
                comparisons=[
                    cst.ComparisonTarget(cst.In() | cst.NotIn() as operator, cst.Tuple() as values)
                ],
            ) if name in self.taken:
                named = ast.literal_eval(code_of(values))
                wanted = isinstance(operator, cst.NotIn)
                return all((value in named) is wanted for value in self.taken[name])
            case cst.Comparison(
                left=cst.Name(value=name),
                comparisons=[cst.ComparisonTarget(cst.GreaterThan(), cst.Integer() as bound)],
            ) if name in self.taken:
                least = int(bound.value)
                return all(isinstance(n, int) and n <= least for n in self.taken[name])
        return False

    def _always_holds(self, test: cst.BaseExpression) -> bool:
        """True for `not option` where it is never given."""
        match test:
            case cst.UnaryOperation(operator=cst.Not(), expression=cst.Name(value=name)):
                return name in self.unset
        return False

    def _is_always(self, test: cst.BaseExpression) -> bool:
        return isinstance(test, cst.Name) and test.value in self.always


def _statements(statement: cst.If, body: cst.BaseSuite) -> cst.FlattenSentinel[cst.BaseStatement]:
    """What is in a branch, in the place of its statement, with the comments before that."""
    if isinstance(body, cst.SimpleStatementSuite):  # it stands in the line of the condition
        return cst.FlattenSentinel([cst.SimpleStatementLine(body.body, statement.leading_lines)])
    assert isinstance(body, cst.IndentedBlock)
    first, *others = body.body
    assert isinstance(first, cst.SimpleStatementLine | cst.BaseCompoundStatement)
    lines = (*statement.leading_lines, *first.leading_lines)
    return cst.FlattenSentinel([first.with_changes(leading_lines=lines), *others])


def _in_parentheses_of(whole: cst.BaseExpression, part: cst.BaseExpression) -> cst.BaseExpression:
    return part.with_changes(lpar=(*whole.lpar, *part.lpar), rpar=(*part.rpar, *whole.rpar))


def _without(function: cst.FunctionDef, gone: Collection[str]) -> cst.FunctionDef:
    """A function without some of its arguments."""
    every = function.params
    rest = [argument for argument in every.params if argument.name.value not in gone]
    by_name = [argument for argument in every.kwonly_params if argument.name.value not in gone]
    star = every.star_arg
    if not by_name and isinstance(star, cst.ParamStar):
        star = cst.MaybeSentinel.DEFAULT
    params = every.with_changes(params=rest, kwonly_params=by_name, star_arg=star)
    return function.with_changes(params=params)


def _names(text: str) -> set[str]:
    """The names of variables in the body of a function."""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    parts = (part for statement in function.body for part in ast.walk(statement))
    return {part.id for part in parts if isinstance(part, ast.Name)}
