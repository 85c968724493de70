"""The hidden layer that some vision transformers have before their head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Expr, Ops, Pattern, Var

from .token_pooling import token_pooling

if TYPE_CHECKING:
    from keras import KerasTensor, layers


class Pooler(Pattern):
    """(B, N, d) → (B, dim): a linear layer on the class token, and tanh.

    arXiv:2010.11929, section 3.1: the head of pre-training is an MLP with one hidden layer.
    """

    keras = "pooler"
    main = "dense"
    before = ("TokenClassifier",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Dense(op.TokenPooling(x, role="pool"), role="dense", use_bias=True)
        return op.Activation(y, role="act", activation="tanh")

    def params(self, m: Match) -> dict[str, Any]:
        return {"dim": m.dense.units, **m.pool.params}


def pooler(
    x: KerasTensor, dim: int, pooling: str = "token", start: int = 0, *, name: str
) -> KerasTensor:
    """A linear layer and tanh on the token at `start`, or on the mean from there on."""
    x = token_pooling(x, pooling, start)
    x = layers.Dense(dim, name=name)(x)
    return layers.Activation("tanh", name=f"{name}_act")(x)
