"""The pattern language, and the search for its patterns in a graph.

In: a graph and a pattern. Out: a match, or the reason why there is none. Begin with `pattern`,
the language; `match` finds, `search` is the backtracking, `registry` the patterns in their order.
Files with patterns import the language from here.
"""

from onnx2mvit.matcher.expression import (
    Expr,
    Ops,
    Var,
    any_number,
    any_of,
    at_most_one,
    constant,
    each,
    kind_of,
    maybe,
    one_or_more,
    optional,
    p,
    scalar,
)
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.rooted import Array, Mismatch, require
from onnx2mvit.matcher.rule import Builder, Rule

__all__ = [
    "Array",
    "Builder",
    "Expr",
    "Match",
    "Mismatch",
    "Ops",
    "Pattern",
    "Rule",
    "Var",
    "any_number",
    "any_of",
    "at_most_one",
    "constant",
    "each",
    "kind_of",
    "maybe",
    "one_or_more",
    "optional",
    "p",
    "require",
    "scalar",
]
