"""Small named rules that bring what exporters write differently to one spelling.

A rule is written in the pattern language. Its docstring shows what stands before and after.
Patterns may rely on the spelling after all rules, and so know no exporter.
"""

from __future__ import annotations

from functools import cache

from onnx2mvit.ir.graph import Graph
from onnx2mvit.matcher.registry import builtin_rules
from onnx2mvit.matcher.rule import Rule
from onnx2mvit.reader.rules.activation import (
    GeluFromParts,
    GeluTanhFromParts,
    HardSigmoidFromParts,
    HardSwishFromParts,
)
from onnx2mvit.reader.rules.apply import apply_once
from onnx2mvit.reader.rules.arithmetic import DivideIsMultiply, DropZero, SoftmaxAxis
from onnx2mvit.reader.rules.attention import (
    AttentionIsMatMuls,
    HeadsTogether,
    MaskOfNothing,
    MergeScales,
    ScaleAfterMatMul,
    ScaleAfterMove,
    SoftmaxIsNumber,
    TransposeOfFlatHeads,
)
from onnx2mvit.reader.rules.convolution import DropZeroBias, ExplicitConv, PadIntoConv
from onnx2mvit.reader.rules.linear import GemmIsMatMulAdd, LinearGateIsConv
from onnx2mvit.reader.rules.normalization import (
    GroupNormFromParts,
    GroupNormPerChannel,
    LayerNormFromParts,
)
from onnx2mvit.reader.rules.patches import (
    DropExpand,
    DropPad,
    PixelShuffle,
)
from onnx2mvit.reader.rules.pooling import (
    AveragePoolIsMean,
    FlattenOfPixelIsMean,
    GlobalAveragePoolIsMean,
    MeanAxes,
    MeanWithoutKeptAxes,
)
from onnx2mvit.reader.rules.selection import (
    ConcatGrows,
    GatherOfAll,
    MergeRolls,
    RollFromSlices,
    SelectBeforeTranspose,
    SelectFromGather,
    SelectFromLinear,
    SelectFromSlice,
    SliceAttributes,
    SliceOfLinear,
    SplitIsSlices,
)
from onnx2mvit.reader.rules.shape import (
    AnyReshapeIsReshape,
    DropDropout,
    DropIdentity,
    DropReshape,
    DropTranspose,
    MergeReshapes,
    MergeTransposes,
    ResizeBySize,
    SharedReshape,
)

RULES: tuple[Rule, ...] = (
    DropIdentity(),
    DropDropout(),
    DropZero(),
    DropPad(),
    DropExpand(),
    AnyReshapeIsReshape(),
    GroupNormFromParts(),
    GroupNormPerChannel(),
    SplitIsSlices(),
    SliceAttributes(),
    SelectFromSlice(),
    SelectFromGather(),
    GatherOfAll(),
    ConcatGrows(),
    RollFromSlices(),
    MergeRolls(),
    SelectBeforeTranspose(),
    SelectFromLinear(),
    SliceOfLinear(),
    TransposeOfFlatHeads(),
    PixelShuffle(),
    MergeReshapes(),
    SharedReshape(),
    DropReshape(),
    MergeTransposes(),
    DropTranspose(),
    ResizeBySize(),
    ExplicitConv(),
    PadIntoConv(),
    DropZeroBias(),
    GlobalAveragePoolIsMean(),
    AveragePoolIsMean(),
    MeanAxes(),
    MeanWithoutKeptAxes(),
    FlattenOfPixelIsMean(),
    GemmIsMatMulAdd(),
    LinearGateIsConv(),
    DivideIsMultiply(),
    GeluFromParts(),
    HardSigmoidFromParts(),
    GeluTanhFromParts(),
    HardSwishFromParts(),
    LayerNormFromParts(),
    AttentionIsMatMuls(),
    MaskOfNothing(),
    ScaleAfterMove(),
    ScaleAfterMatMul(),
    MergeScales(),
    HeadsTogether(),
    SoftmaxIsNumber(),
    SoftmaxAxis(),
)
MOST_PASSES = 20


@cache
def all_rules() -> tuple[Rule, ...]:
    """Those of the families first, in the exporters' own spelling, then the general ones."""
    return (*builtin_rules(), *RULES)


def unify(graph: Graph, rules: tuple[Rule, ...] | None = None) -> None:
    """Applies the rules in order, again and again until none has anything to do."""
    rules = all_rules() if rules is None else rules
    for _ in range(MOST_PASSES):
        if not sum(apply_once(rule, graph) for rule in rules):
            break
        graph.sweep()
    graph.sweep()
