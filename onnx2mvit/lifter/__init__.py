"""Stage two, lift: patterns collapse the graph into named blocks, from the bottom up.

In: `Graph` and patterns. Out: `Network`. Begin with `lift`; `naming` gives blocks torch's names.
Before it, on request, `merge_branches` makes one convolution of every sum of them.
"""

from onnx2mvit.lifter.head import Head, HeadChoice
from onnx2mvit.lifter.lift import inline_fragments, lift
from onnx2mvit.lifter.merge import merge_branches

__all__ = ["Head", "HeadChoice", "inline_fragments", "lift", "merge_branches"]
