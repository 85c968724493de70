"""Rules for scaled dot-product attention: one MatMul of query and key, the scale on the scores."""

from __future__ import annotations

import math

import numpy as np

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, each, optional, scalar
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import Array, require
from onnx2mvit.matcher.rule import Builder, Rule
from onnx2mvit.reader.rules.linear import linear, new_linear


class AttentionIsMatMuls(Rule):
    """ONNX Attention (operator versions 23-25) without cache, cap or window.

    Attention(q, k, v, mask) of rank 4 → MatMul(Softmax(Add(Mul(MatMul(q, kᵀ), scale), mask)), v)
    where the mask is a constant, or absent
    """

    needed_by = "timm and Hugging Face by dynamo from opset 23 on"

    def onnx(self, op: Ops, x: Var) -> Expr:
        windows = dict.fromkeys(("left_window_size", "right_window_size"), unlimited)
        operands = x, Var("key"), Var("value"), optional("mask")
        return op.Attention(*operands, softcap=lambda cap: not cap, **windows)

    def rewrite(self, m: Match, new: Builder) -> Value:
        heads = {m.shape(role, 4)[1] for role in ("x", "key", "value")}
        require(len(heads) == 1, "heads are shared")
        number = np.float32(m.root.attrs.get("scale", 1 / math.sqrt(m.x.shape[-1])))
        turned = new.Transpose(m.key, perm=(0, 1, 3, 2))
        scale = new.constant(np.asarray(number), "scale")
        return attend(new, m.x, turned, m.value, scale, self.mask(m, new))

    def mask(self, m: Match, new: Builder) -> Value | None:
        """What is added to the scores: -inf where a token is hidden."""
        mask = None if m.mask is None else m.mask.const
        if m.root.attrs.get("is_causal"):
            require(mask is None, "it has two masks")
            mask = np.tri(m.x.shape[-2], m.key.shape[-2], dtype=bool)
        if mask is None or hides_nothing(mask):
            return None
        seen = mask if mask.dtype.kind == "b" else np.isfinite(mask)
        # Attention answers zero there, and a Softmax no number.
        require(bool(seen.any(axis=-1).all()), "a query sees no token")
        if mask.dtype.kind == "b":
            mask = np.where(mask, 0, -np.inf).astype(np.float32)
        return new.constant(mask, "mask")


def unlimited(window: int | None) -> bool:
    """True if a query looks at all that there is on one of its sides."""
    return window in (None, -1)


def attend(
    new: Builder,
    query: Value,
    turned: Value,
    value: Value,
    scale: Value | None,
    mask: Value | None = None,
) -> Value:
    """Scaled dot-product attention of keys that are turned already."""
    scores = new.MatMul(query, turned)
    shape = scores.shape
    scores = scores if scale is None else new.Mul(scores, scale)
    scores = scores if mask is None else new.Add(scores, mask)
    return new.MatMul(new.Softmax(scores, shape=shape, axis=-1), value)


class MaskOfNothing(Rule):
    """A mask that hides no token.

    Softmax(Add(scores, 0)) → Softmax(scores), where the zeros are the same for all heads: others
    are a bias that was not trained yet
    """

    needed_by = "Hugging Face by dynamo"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Softmax(op.Add(x, constant("mask")))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(hides_nothing(m.mask.const), "some tokens are hidden")
        one_mask = m.mask.const.ndim < 3 or m.mask.const.shape[-3] == 1
        require(one_mask, "it is one for each head")
        require(m.shape("x") == m.root.output.shape, "it is made larger")
        return new.like_root(m.x, **m.root.attrs)


def hides_nothing(mask: Array) -> bool:
    """True for a mask of zeros that is added, and for one of booleans that are all true."""
    kind = mask.dtype.kind
    return bool(mask.all() if kind == "b" else kind == "f" and not mask.any())


class SoftmaxIsNumber(Rule):
    """The softmax of a row is not a number where a mask hides all of it; here is none that does.

    Where(IsNaN(s), 0, s) → s, where s = Softmax(Mul(MatMul(q, k), scale) [+ mask])
    """

    needed_by = "Hugging Face by dynamo below opset 23"

    def onnx(self, op: Ops, x: Var) -> Expr:
        scores = op.Mul(op.MatMul(x, Var("key")), scalar("scale"))
        masked = op.Add(scores, constant("mask"))
        share = op.Softmax(any_of(masked, scores), role="share")
        return op.Where(op.IsNaN(share), scalar("zero", 0.0), share)

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.shape("share") == m.root.output.shape, "it grows")
        seen = m.mask is None or np.isfinite(m.mask.const).any(axis=-1).all()
        require(bool(seen), "the mask hides a whole row")
        value: Value = m.share.output
        return value


class TransposeOfFlatHeads(Rule):
    """dynamo flattens batch and heads to transpose the keys.

    Reshape(Transpose(Reshape(x, [B·h, N, d]), perm=(0, 2, 1)), [B, h, d, N])
    → Transpose(x, perm=(0, 1, 3, 2))
    """

    needed_by = "timm by dynamo below opset 23"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Rearrange("b h n d -> b h d n", x)

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(len(m.nodes) > 1, "it is written so already")
        return new.like_root(m.x, op="Transpose", perm=(0, 1, 3, 2))


class ScaleAfterMove(Rule):
    """A scale does not mind what is moved or cut.

    Transpose(Mul(x, s)) | Reshape(Mul(x, s)) | Slice(Mul(x, s))
    → Mul(Transpose(x), s) | Mul(Reshape(x), s) | Mul(Slice(x), s)
    """

    needed_by = "cvnets for mobile"

    def onnx(self, op: Ops, x: Var) -> Expr:
        scaled = op.Mul(x, scalar("scale"), role="scaled")
        return any_of(op.Transpose(scaled), op.Reshape(scaled), op.Slice(scaled))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "a constant is scaled")
        readers = {reader.op for reader in m.graph.consumers(m.scaled.output)}
        shared = readers != {m.root.op} or m.graph.is_output(m.scaled.output)
        require(not shared, "it would be scaled here and elsewhere")
        moved = new.like_root(m.x, **m.root.attrs)
        return new.Mul(moved, number(new, m.scale), shape=m.root.output.shape)


class ScaleAfterMatMul(Rule):
    """A scale on the query, on the key or on both is one on the scores.

    MatMul(Mul(q, s), k) | MatMul(q, Mul(k, s)) → Mul(MatMul(q, k), s)
    """

    needed_by = "timm and cvnets: the scale is on the query, or on query and key"

    def onnx(self, op: Ops, x: Var) -> Expr:
        other = Var("other")
        scaled = op.Mul(x, scalar("scale"))
        return any_of(op.MatMul(scaled, other, role="left"), op.MatMul(other, scaled, role="right"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None and m.other.const is None, "one of them is a constant")
        operands = (m.x, m.other) if m.left is not None else (m.other, m.x)
        return new.Mul(new.MatMul(*operands), number(new, m.scale), shape=m.root.output.shape)


class MergeScales(Rule):
    """Two scales are one.

    Mul(Mul(x, s), t) → Mul(x, s·t)
    """

    needed_by = "timm: √scale is on query and key"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Mul(op.Mul(x, scalar("inner")), scalar("outer"))

    def rewrite(self, m: Match, new: Builder) -> Value:
        require(m.x.const is None, "a constant is scaled")
        with np.errstate(over="ignore", under="ignore"):
            product = m.inner.const.reshape(()) * m.outer.const.reshape(())
        usual = np.finfo(product.dtype).tiny <= abs(product) <= np.finfo(product.dtype).max
        require(usual, "the product is beyond what a float holds")
        return new.like_root(m.x, new.constant(np.asarray(product), "scale"))


class HeadsTogether(Rule):
    """Heads that are computed one by one, each from linear layers of its own.

    Concat(head_0, …, head_n, axis=-1), or one head alone as wide as x, where
    head_i = MatMul(Softmax(Mul(MatMul(x·q_i, Transpose(x·k_i)), scale)), x·v_i)
    → Reshape(Transpose(MatMul(Softmax(Mul(MatMul(q, kᵀ), scale)), v), perm=(0, 2, 1, 3)))
    where q = Transpose(Reshape(x·[q_0 … q_n], [B, N, n, d]), perm=(0, 2, 1, 3)), and so k, v
    """

    needed_by = "cvnets for mobile"

    def onnx(self, op: Ops, x: Var) -> Expr:
        key = op.Transpose(linear(op, x, "key_"), perm=(0, 2, 1))
        scores = op.Mul(op.MatMul(linear(op, x, "query_"), key), scalar("scale"))
        head = op.MatMul(op.Softmax(scores, axis=-1), linear(op, x, "value_"))
        joined = op.Concat(each(head, role="heads"), role="joined", axis=lambda a: a in (-1, 2))
        return any_of(joined, head)

    def rewrite(self, m: Match, new: Builder) -> Value:
        heads: tuple[Match, ...] = m.heads or (m,)
        x, scale, width = heads[0].x, heads[0].scale, heads[0].query_kernel.const.shape[1]
        channels = heads[0].shape("x", 3)[-1]
        require(m.joined is not None or width == channels, "one of several heads")
        for head in heads:
            require(head.x is x, "the heads have different inputs")
            require(float(head.scale.const) == float(scale.const), "their scales differ")
        query, key, value = (
            self.together(role, heads, width, new) for role in ("query", "key", "value")
        )
        turned = new.Transpose(key, perm=(0, 2, 3, 1))
        query, value = (new.Transpose(part, perm=(0, 2, 1, 3)) for part in (query, value))
        y = attend(new, query, turned, value, number(new, scale))
        return new.like_root(new.Transpose(y, perm=(0, 2, 1, 3)), op="Reshape")

    def together(self, role: str, heads: tuple[Match, ...], width: int, new: Builder) -> Value:
        """One linear layer for all heads, its channels divided among them."""
        x: Value = heads[0].x
        kernels = [getattr(head, f"{role}_kernel").const for head in heads]
        require({kernel.shape[1] for kernel in kernels} == {width}, "the heads differ in width")
        bias, biases = None, [getattr(head, f"{role}_bias") for head in heads]
        if any(biases):
            require(all(biases), "some of the heads have no bias")
            bias = np.concatenate([bias.const for bias in biases])
            require(bias.shape == (len(heads) * width,), "a bias is not one per channel")
        y = new_linear(new, x, np.concatenate(kernels, axis=1), bias, f"{role}_")
        return new.Reshape(y, shape=(*(x.shape or ())[:2], len(heads), width))


def number(new: Builder, value: Value) -> Value:
    """A constant of one element without axes, so that it never makes a tensor larger."""
    assert value.const is not None
    return value if value.shape == () else new.constant(value.const.reshape(()), "scale")
