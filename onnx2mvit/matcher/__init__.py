"""The pattern language, and the search for its patterns in a graph.

In: a graph, and patterns or rules written in the language. Out: a match with its hyperparameters,
or the reason why there is none. Begin with `pattern`, where the language is described, and `find`,
the entry; `language` has the words, `search` is the backtracking, `outline` the quick test before
it, `registry` the patterns in their order, `diagnosis` why none took a node. Files with patterns
import all that they need from here.
"""

from onnx2mvit.matcher.expression import Expr, Var
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.language import (
    Ops,
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
from onnx2mvit.matcher.rooted import Array, Mismatch, alike, multiple, require
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
    "alike",
    "any_number",
    "any_of",
    "at_most_one",
    "constant",
    "each",
    "find",
    "kind_of",
    "maybe",
    "multiple",
    "one_or_more",
    "optional",
    "p",
    "require",
    "scalar",
]
