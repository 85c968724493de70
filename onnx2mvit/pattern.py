"""The pattern language under the name that it had, for files with patterns written before.

New ones import it from `onnx2mvit.matcher`.
"""

from onnx2mvit.matcher import (
    Array,
    Expr,
    Mismatch,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    each,
    maybe,
    one_or_more,
    optional,
    require,
    scalar,
)

__all__ = [
    "Array",
    "Expr",
    "Mismatch",
    "Ops",
    "Pattern",
    "Var",
    "any_of",
    "constant",
    "each",
    "maybe",
    "one_or_more",
    "optional",
    "require",
    "scalar",
]
