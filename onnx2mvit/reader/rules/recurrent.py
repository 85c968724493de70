"""Rules for recurrent layers."""

from __future__ import annotations

from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import Expr, Ops, Var, any_of, constant, optional
from onnx2mvit.matcher.match import Match
from onnx2mvit.matcher.rooted import require
from onnx2mvit.matcher.rule import Builder, Rule


class DirectionsTogether(Rule):
    """What both directions give stands side by side in one axis, as in PyTorch and Keras.

    LSTM(x, …) → Transpose(Reshape(LSTM(x, …, joined=1)), perm=(0, 2, 1, 3)); GRU and RNN likewise
    where LSTM(…, joined=1) is (T, B, directions · units)
    """

    needed_by = "PyTorch's recurrent layers, such as CRNN's"

    def onnx(self, op: Ops, x: Var) -> Expr:
        weights, rest = (
            (constant("kernel"), constant("recurrent")),
            (optional("bias"), optional("lengths")),
        )
        h, c = Var("h", optional=True), Var("c", optional=True)
        return any_of(
            op.LSTM(x, *weights, *rest, h, c, optional("peepholes")),
            op.GRU(x, *weights, *rest, h),
            op.RNN(x, *weights, *rest, h),
        )

    def rewrite(self, m: Match, new: Builder) -> tuple[Value, ...]:
        attrs, shapes = m.root.attrs, [value.shape for value in m.root.outputs]
        require("joined" not in attrs, "it is written so already")
        require(shapes[0] is not None and len(shapes[0]) == 4, "its shape is not known")
        first, second, third, units = shapes[0] or ()
        turned = not attrs.get("layout", 0)  # (T, directions, B, units)
        steps, directions = (first, third), second
        if not turned:
            steps, directions = (first, second), third
        made = new.like_all(
            *m.root.inputs, shapes=[(*steps, directions * units), *shapes[1:]], **attrs, joined=1
        )
        y = new.Reshape(made[0], shape=(*steps, directions, units))
        if turned:
            y = new.Transpose(y, shape=shapes[0], perm=(0, 2, 1, 3))
        return y, *made[1:]
