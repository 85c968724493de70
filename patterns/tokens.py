"""Parameters beside the tokens of an image: tokens of their own, and positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
    Array,
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    alike,
    constant,
    each,
    require,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


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


def class_token(x: KerasTensor, num_tokens: int = 1, *, name: str) -> KerasTensor:
    """Puts learned tokens before the others."""
    index = ops.zeros_like(x[:, :1, 0], dtype="int32") + np.arange(num_tokens, dtype="int32")
    tokens = layers.Embedding(num_tokens, x.shape[-1], name=name)(index)
    return layers.Concatenate(axis=1)([tokens, x])


class TokensAround(Rule):
    """Learned tokens on both sides are put there one side after the other.

    Concat(a, x, b, axis=1), a and b constant → Concat(Concat(a, x), b)
    """

    needed_by = "YOLOS (arXiv:2106.00666), whose tokens for detection stand last"

    def onnx(self, op: Ops, x: Var) -> Expr:
        a, b = constant("a"), constant("b")
        return op.Concat(a, x, b, axis=lambda axis: axis in (1, -2))

    def rewrite(self, m: Match, new: Builder) -> Value:
        x, axis = m.x, m.root.attrs["axis"]
        require(x.const is None and x.shape is not None and len(x.shape) == 3, "x is no tokens")
        images, count, width = x.shape
        shape = images, count + m.a.const.shape[1], width
        return new.like_root(new.Concat(m.a, x, axis=axis, shape=shape), m.b, axis=axis)


class TokenEmbedding(Pattern):
    """(B, N) → (B, N, d): a learned vector for each token (arXiv:1706.03762, section 3.4).

    ONNX Gather (operator versions 1, 11, 13) of a table (vocabulary, d), by whole numbers that are
    not negative; Keras: Embedding.
    """

    layer = "Embedding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Gather(constant("table", rank=2), x, axis=0)

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 2)
        require(m.x.const is None, "its tokens are constants")
        vocabulary, dim = m.table.const.shape
        require(m.table.const.dtype.kind == "f", "what it gives is not learned")
        return {"input_dim": vocabulary, "output_dim": dim}

    def weights(self, m: Match) -> dict[str, Array]:
        return {"embeddings": m.table.const}


class LearnedTensor(Pattern):
    """A tensor that is learned, which a layer reads: (B, …) if it is one for each image, or (1, …).

    It has no node; the reader has put one there. Keras: Embedding, one row for each place.
    """

    keras = "learned_tensor"

    @property
    def is_leaf(self) -> bool:
        return True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Expand(constant("table"), constant("shape"), role="whole")

    def operands(self, m: Match) -> tuple[Value, ...]:
        return (m.graph.inputs[0],)

    def params(self, m: Match) -> dict[str, Any]:
        shape = m.shape("whole", m.table.const.ndim)
        require(len(shape) > 1, "it has no channels")
        each = shape[0] % (m.graph.batch_size or 1) == 0
        require(not each or len(m.table.const) == 1, "it is another for every image")
        return {"shape": self.rows(m).shape, **({} if each else {"shared": True})}

    def weights(self, m: Match) -> dict[str, Array]:
        rows = self.rows(m)
        return {"embeddings": rows.reshape(-1, rows.shape[-1])}

    def rows(self, m: Match) -> Array:
        """The table with the channels last."""
        table: Array = m.table.const
        return table.transpose(self.order(table.ndim))


def learned_tensor(
    x: KerasTensor, shape: tuple[int, ...], shared: bool = False, *, name: str
) -> KerasTensor:
    """A learned tensor of this shape for each image of `x`, or one that they share."""
    images = slice(1) if shared else slice(None)
    zeros = ops.zeros_like(x[(images, *[0] * (len(x.shape) - 1))], dtype="int32")
    rows = int(np.prod(shape[:-1]))
    places = np.arange(rows, dtype="int32").reshape(shape[:-1])
    index = ops.reshape(zeros, (-1, *[1] * (len(shape) - 2))) + places
    return layers.Embedding(rows, shape[-1], name=name)(index)


class PositionEmbedding(Pattern):
    """Tokens (B, N, d) plus a learned (N, d) (arXiv:2010.11929, section 3.1).

    A parameter has no node: it is what is added. Keras: Embedding, one row a position.
    """

    keras = "position_embedding"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Add(x, constant("table"))

    def params(self, m: Match) -> dict[str, Any]:
        _, tokens, dim = m.shape("x", 3)
        table = m.table.const
        require(m.x.const is None, "it is added to a constant")
        require(table.ndim in (2, 3) and table.shape[-2:] == (tokens, dim), "not one per token")
        require(tokens > 1, "a single token has no position")
        require(table.ndim == 2 or alike(table), "positions differ from image to image")
        return {"num_positions": tokens}

    def weights(self, m: Match) -> dict[str, Array]:
        table: Array = m.table.const
        return {"embeddings": table.reshape(-1, *table.shape[-2:])[0]}


def position_embedding(
    x: KerasTensor,
    num_positions: int,
    grid: tuple[int, int] | None = None,
    patch_size: int = 1,
    image: Any = None,
    *,
    name: str,
) -> KerasTensor:
    """Adds a learned vector to every token.

    Those of patches are for a `grid` (rows, columns) of them. For an `image` that has another
    they are resampled as Hugging Face does with `interpolate_pos_encoding=True`: bicubic
    (a = -0.75), half-pixel centres, no antialiasing. Without a grid there is no other size.
    """
    dim = x.shape[-1]
    index = ops.zeros_like(x[:1, :1, 0], dtype="int32") + np.arange(num_positions, dtype="int32")
    table = layers.Embedding(num_positions, dim, name=name)(index)
    if grid:
        size = (image.shape[1] // patch_size, image.shape[2] // patch_size)
        if size != grid:
            special, patches = ops.split(table, [num_positions - grid[0] * grid[1]], axis=1)
            patches = ops.reshape(patches, (*grid, dim))
            for old, new in zip(grid[::-1], size[::-1], strict=True):
                places = (np.arange(new, dtype="float32") + 0.5) * (old / new) - 0.5
                neighbours = np.arange(-2, old + 2)
                d = np.abs(places[:, None] - neighbours.astype("float32"))
                near = (1.25 * d - 2.25) * d * d + 1
                far = ((3.75 - 0.75 * d) * d - 6) * d + 3
                weights = np.where(d < 1, near, np.where(d < 2, far, 0)).astype("float32")
                patches = ops.take(patches, np.clip(neighbours, 0, old - 1), axis=1)
                patches = ops.swapaxes(ops.matmul(weights, patches), 0, 1)
            table = ops.concatenate([special, ops.reshape(patches, (1, -1, dim))], axis=1)
    if table.shape[1] != x.shape[1]:
        raise ValueError(f"{name} is for {table.shape[1]} tokens, not {x.shape[1]}")
    return x + table


def position_embedding_any_size() -> None:
    """For images of any size: what takes the place of `position_embedding`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class PositionEmbedding(layers.Layer):
        """Adds a learned vector to every token (B, n + N, d) of an image (B, H, W, C).

        Those of patches, for a `grid` of them, are resampled to the image: bicubic, a = -0.75.
        """

        def __init__(
            self, num_positions: int, grid: tuple[int, int], patch_size: int, **kwargs: Any
        ) -> None:
            super().__init__(**kwargs)
            self.num_positions, self.grid, self.patch_size = num_positions, tuple(grid), patch_size

        def build(self, shapes: list[Shape]) -> None:
            tokens, _ = shapes
            self.embeddings = self.add_weight(
                name="embeddings", shape=(self.num_positions, tokens[-1]), initializer="uniform"
            )

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            dim, rest = x.shape[-1], self.num_positions - self.grid[0] * self.grid[1]
            _, height, width, _ = ops.shape(image)
            special, patches = self.embeddings[:rest], self.embeddings[rest:]
            patches = ops.reshape(patches, (*self.grid, dim))
            for old, length in zip(self.grid[::-1], (width, height), strict=True):
                new = length // self.patch_size
                scale = old / ops.cast(new, "float32")
                places = (ops.arange(new, dtype="float32") + 0.5) * scale - 0.5
                neighbours = ops.arange(-2, old + 2)
                d = ops.abs(places[:, None] - ops.cast(neighbours, "float32"))
                near = (1.25 * d - 2.25) * d * d + 1
                far = ((3.75 - 0.75 * d) * d - 6) * d + 3
                weights = ops.where(d < 1, near, ops.where(d < 2, far, 0.0))
                patches = ops.take(patches, ops.clip(neighbours, 0, old - 1), axis=1)
                patches = ops.swapaxes(ops.matmul(weights, patches), 0, 1)
            table = ops.concatenate([special, ops.reshape(patches, (-1, dim))], axis=0)
            return x + ops.cast(table, x.dtype)

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            tokens, _ = shapes
            return tokens

        def get_config(self) -> dict[str, Any]:
            names = ("num_positions", "grid", "patch_size")
            return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def position_embedding(
        x: KerasTensor,
        num_positions: int,
        grid: tuple[int, int] | None = None,
        patch_size: int = 1,
        image: KerasTensor | None = None,
        *,
        name: str,
    ) -> KerasTensor:
        """Adds a learned vector to every token; those of patches are resampled to the image."""
        if grid is None:
            if x.shape[1] != num_positions:  # else they are none of an image
                raise ValueError(f"{name} is for {num_positions} tokens alone")
            index = ops.zeros_like(x[:1, :1, 0], dtype="int32")
            index = index + np.arange(num_positions, dtype="int32")
            return x + layers.Embedding(num_positions, x.shape[-1], name=name)(index)
        return PositionEmbedding(num_positions, grid, patch_size, name=name)([x, image])
