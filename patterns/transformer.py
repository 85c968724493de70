"""The transformer's own layers (arXiv:1706.03762), and DETR's (arXiv:2005.12872) with positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, multiple, p, require

from .tokens import position_embedding

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

STYLE = ("mlp_ratio", "activation", "attention_bias", "epsilon")
ATTENTION: dict[str, Any] = {"num_heads": p.num_heads, "use_bias": p.attention_bias}


def self_attended(op: Ops, x: Expr, role: str, positions: str) -> Expr:
    """Attention of tokens to themselves, with positions in queries and keys or without."""
    placed = op.PositionEmbedding(x, role=positions, num_positions=p.num_positions)
    return any_of(
        op.MultiHeadAttention(x, role=role, **ATTENTION),
        op.Attention(placed, x, role=role, causal=False, **ATTENTION),
    )


def added(op: Ops, x: Expr, branch: Expr, role: str) -> Expr:
    """The sum of tokens and what a branch makes of them, normalized (arXiv:1706.03762, 3.1)."""
    return op.LayerNorm(op.Add(x, branch), role=role, epsilon=p.epsilon)


def fed_forward(op: Ops, x: Expr) -> Expr:
    """Two linear layers, added and normalized (arXiv:1706.03762, section 3.3)."""
    y = op.Dense(x, role="mlp_in", use_bias=True)
    y = op.Activation(y, role="act", activation=p.activation)
    return added(op, x, op.Dense(y, role="mlp_out", use_bias=True), "norm_mlp")


def read_mlp(m: Match) -> dict[str, Any]:
    """By how much the hidden layer is wider."""
    *_, dim = m.shape("x", 3)
    require(m.mlp_out.units == dim, f"mlp_out makes {m.mlp_out.units} channels of {dim}")
    wider = multiple(m.mlp_in.units, dim)
    return {"mlp_ratio": wider}


def check_keys(attention: Any, *expected: Value) -> None:
    """Requires that queries, values and keys of an attention are these."""
    if attention is not None and attention.op == "Attention":
        require(attention.operands == expected, "its keys are others")


class TransformerEncoderLayer(Pattern):
    """The encoder's layer, which normalizes sums (arXiv:1706.03762, section 3.1 and figure 1).

    DETR adds positions to its queries and keys (arXiv:2005.12872, appendix A.3, figure 10).
    """

    keras = "transformer_encoder_layer"
    nested = True
    style = STYLE
    before = ("TransformerDecoderLayer",)

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = added(op, x, self_attended(op, x, "attention", "positions"), "norm_attention")
        return fed_forward(op, y)

    def params(self, m: Match) -> dict[str, Any]:
        if m.positions is not None:
            check_keys(m.attention, m.positions.output, m.x, m.positions.output)
        return read_mlp(m)


def transformer_encoder_layer(
    x: KerasTensor,
    num_heads: int,
    mlp_ratio: float = 4,
    activation: str = "relu",
    attention_bias: bool = True,
    num_positions: int | None = None,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention and a feed-forward network on tokens (B, N, d), each added and normalized."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    query = inputs
    if num_positions is not None:
        query = position_embedding(query, num_positions, name="positions")
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, dropout=dropout, name="attention"
    )
    y = layers.Add(name="add_attention")([inputs, attention(query, inputs, query)])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_attention")(y)
    z = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    z = layers.Activation(activation, name="act")(z)
    z = layers.Dense(dim, name="mlp_out")(z)
    if dropout:
        z = layers.Dropout(dropout, name="dropout_mlp")(z)
    y = layers.Add(name="add_mlp")([y, z])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_mlp")(y)
    return keras.Model(inputs, y, name=name)(x)


class TransformerDecoderLayer(Pattern):
    """The decoder's layer: the encoder's, with attention to what that gave, its memory.

    arXiv:1706.03762, section 3.1 and figure 1. In DETR's first one there is nothing yet that its
    queries could tell each other: the exporter leaves out that attention.
    """

    keras = "transformer_decoder_layer"
    nested = True
    style = STYLE

    def onnx(self, op: Ops, x: Var) -> Expr:
        memory, keys = Var("memory"), Var("keys")
        own = self_attended(op, x, "self_attention", "self_positions")
        y = any_of(added(op, x, own, "norm_self"), x)
        placed = op.PositionEmbedding(y, role="positions", num_positions=p.num_positions)
        query = any_of(placed, y)
        cross: dict[str, Any] = {"role": "cross_attention", "causal": False, **ATTENTION}
        to_memory = any_of(
            op.Attention(query, memory, keys, **cross), op.Attention(query, memory, **cross)
        )
        return fed_forward(op, added(op, y, to_memory, "norm_cross"))

    def operands(self, m: Match) -> tuple[Value, ...]:
        return (m.x, m.memory) if m.keys is None else (m.x, m.memory, m.keys)

    def params(self, m: Match) -> dict[str, Any]:
        queries, keys = m.cross_attention.operands[0], m.keys or m.memory
        check_keys(m.cross_attention, queries, m.memory, keys)
        if m.self_positions is not None:
            check_keys(m.self_attention, m.self_positions.output, m.x, m.self_positions.output)
            require(m.positions is not None, "its queries have positions the first time alone")
        elif m.self_attention is not None:
            require(m.positions is None, "its queries have positions the second time alone")
        attends = {} if m.self_attention is not None else {"self_attention": False}
        return {**read_mlp(m), **attends}


def transformer_decoder_layer(
    x: KerasTensor,
    *memory: KerasTensor,
    num_heads: int,
    mlp_ratio: float = 4,
    activation: str = "relu",
    attention_bias: bool = True,
    self_attention: bool = True,
    num_positions: int | None = None,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    name: str,
) -> KerasTensor:
    """Attention of tokens (B, N, d) to themselves and to a memory, and a feed-forward network.

    The memory is one tensor, or its values and its keys.
    """
    inputs = [keras.Input(tokens.shape[1:]) for tokens in (x, *memory)]
    y, value, key = inputs[0], inputs[1], inputs[-1]
    dim = x.shape[-1]
    heads = {"num_heads": num_heads, "key_dim": dim // num_heads, "dropout": dropout}
    if self_attention:
        query = y
        if num_positions is not None:
            query = position_embedding(query, num_positions, name="self_positions")
        attention = layers.MultiHeadAttention(
            **heads, use_bias=attention_bias, name="self_attention"
        )
        y = layers.Add(name="add_self")([y, attention(query, y, query)])
        y = layers.LayerNormalization(epsilon=epsilon, name="norm_self")(y)
    query = y
    if num_positions is not None:
        query = position_embedding(query, num_positions, name="positions")
    attention = layers.MultiHeadAttention(**heads, use_bias=attention_bias, name="cross_attention")
    y = layers.Add(name="add_cross")([y, attention(query, value, key)])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_cross")(y)
    z = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    z = layers.Activation(activation, name="act")(z)
    z = layers.Dense(dim, name="mlp_out")(z)
    if dropout:
        z = layers.Dropout(dropout, name="dropout_mlp")(z)
    y = layers.Add(name="add_mlp")([y, z])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_mlp")(y)
    return keras.Model(inputs, y, name=name)([x, *memory])


class PreNormDecoderLayer(Pattern):
    """The decoder's layer where what is normalized are the inputs of its branches.

    torch's `TransformerDecoderLayer(norm_first=True)`, after arXiv:2002.04745, figure 1b.
    """

    keras = "pre_norm_decoder_layer"
    nested = True
    style = STYLE

    def onnx(self, op: Ops, x: Var) -> Expr:
        norm = {"epsilon": p.epsilon}
        y: Expr = op.LayerNorm(x, role="norm_self", **norm)
        own = op.Add(x, op.MultiHeadAttention(y, role="self_attention", **ATTENTION))
        cross = {"role": "cross_attention", "causal": False, **ATTENTION}
        query = op.LayerNorm(own, role="norm_cross", **norm)
        both = op.Add(own, op.Attention(query, Var("memory"), **cross))
        y = op.Dense(op.LayerNorm(both, role="norm_mlp", **norm), role="mlp_in", use_bias=True)
        y = op.Activation(y, role="act", activation=p.activation)
        return op.Add(both, op.Dense(y, role="mlp_out", use_bias=True))

    def operands(self, m: Match) -> tuple[Value, ...]:
        return m.x, m.memory

    def params(self, m: Match) -> dict[str, Any]:
        check_keys(m.cross_attention, m.norm_cross.output, m.memory, m.memory)
        return read_mlp(m)


def pre_norm_decoder_layer(
    x: KerasTensor,
    memory: KerasTensor,
    num_heads: int,
    mlp_ratio: float = 4,
    activation: str = "relu",
    attention_bias: bool = True,
    epsilon: float = 1e-5,
    dropout: float = 0.0,
    *,
    name: str,
) -> KerasTensor:
    """Attention of tokens (B, N, d) to themselves and to a memory, each of normalized tokens."""
    inputs, value = keras.Input(x.shape[1:]), keras.Input(memory.shape[1:])
    dim = x.shape[-1]
    heads = {"num_heads": num_heads, "key_dim": dim // num_heads, "dropout": dropout}
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_self")(inputs)
    attention = layers.MultiHeadAttention(**heads, use_bias=attention_bias, name="self_attention")
    x1 = layers.Add(name="add_self")([inputs, attention(y, y)])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_cross")(x1)
    attention = layers.MultiHeadAttention(**heads, use_bias=attention_bias, name="cross_attention")
    x2 = layers.Add(name="add_cross")([x1, attention(y, value)])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm_mlp")(x2)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_in")(y)
    y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, name="mlp_out")(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x2, y])
    return keras.Model([inputs, value], y, name=name)([x, memory])


class BoxPredictor(Pattern):
    """(B, N, d) → (B, N, 4): centre and size of a box for each query, as shares of the image.

    A perceptron of three layers (arXiv:2005.12872, section 3.2).
    """

    keras = "box_predictor"
    nested = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = op.Dense(x, role="first", units=p.dim, use_bias=True)
        y = op.Activation(y, role="first_act", activation="relu")
        y = op.Dense(y, role="second", units=p.dim, use_bias=True)
        y = op.Activation(y, role="second_act", activation="relu")
        y = op.Dense(y, role="box", units=4, use_bias=True)
        return op.Activation(y, role="box_act", activation="sigmoid")

    def params(self, m: Match) -> dict[str, Any]:
        m.shape("x", 3)
        return {}

    def boxes(self, params: dict[str, Any]) -> BoxFormat:
        # The last class is none, and a thing has one box (arXiv:2005.12872, section 3.1).
        return BoxFormat(corners=False, background=-1, overlapping=False)


def box_predictor(x: KerasTensor, dim: int, *, name: str) -> KerasTensor:
    """(B, N, d) → (B, N, 4): centre and size of a box for each query, by three linear layers."""
    inputs = keras.Input(x.shape[1:])
    y = layers.Dense(dim, name="first")(inputs)
    y = layers.Activation("relu", name="first_act")(y)
    y = layers.Dense(dim, name="second")(y)
    y = layers.Activation("relu", name="second_act")(y)
    y = layers.Dense(4, name="box")(y)
    y = layers.Activation("sigmoid", name="box_act")(y)
    return keras.Model(inputs, y, name=name)(x)
