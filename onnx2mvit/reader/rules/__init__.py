"""Small named rules that bring what exporters write differently to one spelling.

A rule is written in the pattern language. Its docstring shows what stands before and after.
Patterns may rely on the spelling after all rules, and so know no exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from onnx2mvit.ir.graph import Graph
from onnx2mvit.matcher.registry import builtin_rules
from onnx2mvit.matcher.rule import Rule
from onnx2mvit.reader.rules import (
    activation,
    arithmetic,
    attention,
    convolution,
    learned,
    linear,
    normalization,
    patches,
    places,
    pooling,
    recurrent,
    selection,
    sequence,
    shape,
)
from onnx2mvit.reader.rules.apply import apply_once

RULES: tuple[Rule, ...] = (
    # What does nothing hides what does something.
    arithmetic.ConstantOfMoreAxes(),
    shape.DropIdentity(),
    patches.DropExpand(),
    shape.AnyReshapeIsReshape(),
    # Before parts are cut and Reshapes merged, of which it has two of its own.
    normalization.GroupNormFromParts(),
    normalization.GroupNormPerChannel(),
    # Its Transpose and Reshape are merged with what follows.
    recurrent.DirectionsTogether(),
    # Parts of a tensor, followed back to the weights that they are made of.
    selection.SplitIsSlices(),
    selection.SliceAttributes(),
    selection.MovedConstant(),
    selection.SelectFromSlice(),
    selection.SelectFromGather(),
    selection.GatherOfAll(),
    places.PlaceOfEachImage(),
    selection.ConcatGrows(),
    selection.RollFromSlices(),
    selection.MergeRolls(),
    sequence.SelectBeforeReshape(),
    selection.SelectBeforeTranspose(),
    selection.SliceBeforeTranspose(),
    linear.SelectFromLinear(),
    linear.SliceOfLinear(),
    linear.PartOfChannels(),
    # Moves of axes: what is left is as short as it can be.
    attention.TransposeOfFlatHeads(),
    patches.PixelShuffle(),
    shape.SharedReshape(),
    shape.MergeMoves(),
    # Windows and means over an image.
    shape.ResizeBySize(),
    convolution.ExplicitConv(),
    convolution.PadIntoConv(),
    convolution.DropZeroBias(),
    convolution.FrozenNormIntoConv(),
    convolution.BiasIntoConv(),
    convolution.SlopeIntoConv(),
    pooling.GlobalAveragePoolIsMean(),
    pooling.AveragePoolIsMean(),
    pooling.MeanAxes(),
    pooling.MeanWithoutKeptAxes(),
    pooling.FlattenOfPixelIsMean(),
    # Linear layers, and arithmetic that is one operator in newer opsets.
    linear.GemmIsMatMulAdd(),
    linear.LinearGateIsConv(),
    arithmetic.DivideIsMultiply(),
    activation.GeluFromParts(),
    activation.HardSigmoidFromParts(),
    activation.HardSwishFromParts(),
    normalization.LayerNormFromParts(),
    normalization.LayerNormWithoutBias(),
    # Attention: one MatMul of query and key, and then the one scale.
    attention.AttentionIsMatMuls(),
    attention.MaskOfNothing(),
    attention.ScaleAfterMove(),
    attention.ScaleAfterMatMul(),
    attention.MergeScales(),
    attention.HeadsTogether(),
    # Images first, once query, key and value are apart.
    learned.LayerOfParameter(),
    learned.ConstantScores(),
    learned.JoinedConstants(),
    sequence.FlatLinear(),
    sequence.TokensOfHeads(),
    sequence.TurnAfterTokens(),
    sequence.TurnAtInput(),
    sequence.HeadsOfEachImage(),
    attention.SoftmaxIsNumber(),
    arithmetic.SoftmaxAxis(),
)
MOST_PASSES = 20


@cache
def all_rules() -> tuple[Rule, ...]:
    """Those of the families first, in the exporters' own spelling, then the general ones."""
    return (*builtin_rules(), *RULES)


def unify(graph: Graph, rules: Sequence[Rule] | None = None, users: Sequence[Rule] = ()) -> None:
    """Applies rules again and again until none has anything to do.

    Args:
        graph: what is rewritten, in place.
        rules: in their order; by default all of ours.
        users: rules that come before them.
    """
    rules = (*users, *(all_rules() if rules is None else rules))
    done: set[Rule] = set()  # those that had nothing to do, and nothing has changed since
    for _ in range(MOST_PASSES):
        changed = False
        for rule in rules:
            if rule not in done and apply_once(rule, graph):
                changed = True
                done.clear()
            else:
                done.add(rule)
        if not changed:
            break
        if graph.sweep():
            done.clear()
    graph.sweep()
