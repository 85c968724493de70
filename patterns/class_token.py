"""Learned tokens before those of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.pattern import Array, Expr, Ops, Pattern, Var, each, require

if TYPE_CHECKING:
    from keras import KerasTensor, layers, ops


class ClassToken(Pattern):
    """(B, N, d) → (B, n + N, d): the class token (arXiv:2010.11929, section 3.1), and with it
    the token for distillation (arXiv:2012.12877) or registers (arXiv:2309.16588).

    A parameter has no node: it is what is concatenated, once for each image of the traced batch
    or once for all. Keras: Embedding, one row a token.
    """

    keras = "class_token"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Concat(each(x, role="parts"), axis=lambda axis: axis in (1, -2))

    def params(self, m: Match) -> dict[str, Any]:
        *tokens, last = (part.x for part in m.parts)
        require(last.const is None and len(last.shape) == 3, "the last part is not tokens")
        require(bool(tokens), "it has one part")
        for token in tokens:
            require(token.const is not None, "a part before the last is not learned")
            require(token.shape[2:] == last.shape[2:], "the tokens differ in channels")
            require(alike(token.const), "a token is another for every image")
        return {"num_tokens": sum(token.shape[1] for token in tokens)}

    def weights(self, m: Match) -> dict[str, Array]:
        tokens = [part.x.const[0] for part in m.parts[:-1]]
        return {"embeddings": np.concatenate(tokens)}


def alike(const: Array) -> bool:
    """True if a constant is the same for all images of the batch."""
    return bool((const == const[:1]).all())


def class_token(x: KerasTensor, num_tokens: int = 1, *, name: str) -> KerasTensor:
    """Puts learned tokens before the others."""
    index = ops.zeros_like(x[:, :1, 0], dtype="int32") + np.arange(num_tokens, dtype="int32")
    tokens = layers.Embedding(num_tokens, x.shape[-1], name=name)(index)
    return layers.Concatenate(axis=1)([tokens, x])
