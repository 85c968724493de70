"""Stage three, lower: what no pattern took becomes Keras expressions, operator by operator.

In: a graph with blocks. Out: a layout for every value, code for every node that is left. Begin
with `lower`; `operators` has a converter for each ONNX operator, which builds its code of the
expression objects of `ir.expr`.
"""

from onnx2mvit.lowering.lower import lower, taken_order, wanted_orders
from onnx2mvit.lowering.sizes import compared

__all__ = ["compared", "lower", "taken_order", "wanted_orders"]
