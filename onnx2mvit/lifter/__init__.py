"""Stage two, lift: patterns collapse the graph into named blocks, from the bottom up.

In: `Graph` and patterns. Out: `Network`. Begin with `lift`; `naming` gives blocks torch's names.
"""

from onnx2mvit.lifter.head import Head, HeadChoice
from onnx2mvit.lifter.lift import inline_fragments, lift

__all__ = ["Head", "HeadChoice", "inline_fragments", "lift"]
