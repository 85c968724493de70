"""Operators with an axis of space, each as what it makes of an image `x` of 8 channels.

`{y}` is the result; names of constants are in `CONSTANTS`.
"""

from typing import Any

import numpy as np

SIZE = (32, 40)  # of a file for images of one size
FAR = 2**62
LINEAR, NEAREST = 'mode="linear"', 'mode="nearest"'
FLOOR = f'{NEAREST}, coordinate_transformation_mode="asymmetric", nearest_mode="floor"'
UPPER, LOWER = 'auto_pad="SAME_UPPER"', 'auto_pad="SAME_LOWER"'
WINDOW = "kernel_shape=[3,3], strides=[2,2]"

CONSTANTS: dict[str, Any] = {
    **{
        "k3": (8, 8, 3, 3),
        "k2": (8, 8, 2, 2),
        "k8": (8, 2, 3, 3),
        "p1": (8, 1, 1),
        "pair": (2, 8, 1, 1),
    },
    **{"gain": (8,), "square": (8, 8), "shift": (8,), "rows": (8, 4)},
    **{f"n{n}": [n] for n in (0, 1, 2, 3, 5)},
    **{"m1": [-1], "m4": [-4], "far": [FAR], "mfar": [-FAR], "a2": [2], "a3": [3], "ends": [-1, 0]},
    **{
        "last": np.int64(-1),
        "second": np.int64(2),
        "third": np.int64(3),
        "hw": [2, 3],
        "rest": [1, 2, 3],
    },
    **{
        "near": [0, 0, 2, 1, 0, 0, 1, 3],
        "cut": [0, 0, -2, -1, 0, 0, -1, -3],
        "around": [0, 0, 5, 6, 0, 0, 7, 9],
        "half": 0.5,
        "classes": [23],
        "off_on": [0.25, 1.5],
        "one_step": 1.0,
        "five_steps": 5.0,
    },
    **{
        "double": [1.0, 1.0, 2.0, 2.0],
        "down": [1.0, 1.0, 0.5, 0.5],
        "part": [1.0, 1.0, 1.5, 1.5],
        "less": [1.0, 1.0, 0.4, 0.75],
    },
    **{
        "flat": [0, 8, -1],
        "of_channels": [-1, 8],
        "twice": [1, 1, 2, 1],
        "split": [16, 16],
        "middle": [16],
        "end": [31],
        "width": [40],
    },
    **{"sizes": [1, 8, 64, 80], "whole": [1, 8, 32, 40], "high": np.int64(31)},
    **{
        "map": (1, 8, 32, 40),
        "line": (1, 1, 1, 40),
        "many": [20],
        "over": (40, 4),
        "area": (32, 40),
    },
    **{
        "heads": [-1, 2, 0],
        "joined": [-1, 8, 0],
        "groups": [0, 0, 0, 2, 4],
        "channels": [0, 0, 0, 8],
        "windows": [0, 8, 4, 8, 40],
        "share": np.float32(1 / 1280),
        "side": np.float32(1 / 40),
    },
    **{"many": [20], "picked": np.zeros((1, 8, 1, 40), np.int64)},
    **{
        "first": [[0, 3]],
        "map_of_one": (1, 32, 40),
        "places": (1, 32, 40, 2),
        "crop": (1, 7, 9, 2),
        "shift_of_one": [-1, 1, 1, 2],
    },
}

# What holds for every size, at odd lengths too.
ANY = (
    *(
        "{y} = Slice(x, m4, far, a2)",
        "{y} = Slice(x, n2, m1, a3)",
        "{y} = Slice(x, n1, far, a3, n3)",
    ),
    *("{y} = Slice(x, m1, mfar, a2, m1)", "{y} = Slice(x, m4, mfar, a3, m1)"),
    *(
        "{y} = Gather<axis=2>(x, m1)",
        "{y} = Gather<axis=3>(x, ends)",
        "{y} = Gather<axis=2>(x, last)",
    ),
    f"{{y}} = Conv<{UPPER}, strides=[2,2]>(x, k3)",
    f"{{y}} = Conv<{LOWER}>(x, k2)",
    "{y} = Conv<pads=[1,1,1,1], strides=[2,2]>(x, k3)",
    f"{{y}} = MaxPool<{UPPER}, {WINDOW}>(x)",
    f"{{y}} = AveragePool<{UPPER}, {WINDOW}>(x)",
    f"{{y}} = Conv<{LOWER}, strides=[2,2]>(x, k3)",
    f"{{y}} = Conv<{LOWER}, strides=[2,2], group=4>(x, k8)",
    *(f"{{y}} = {kind}Pool<{LOWER}, {WINDOW}>(x)" for kind in ("Max", "Average")),
    *(f"{{y}} = {kind}Pool<ceil_mode=1, {WINDOW}>(x)" for kind in ("Max", "Average", "Lp")),
    f"{{y}} = AveragePool<ceil_mode=1, {WINDOW}, pads=[1,1,1,1], count_include_pad=1>(x)",
    f"{{y}} = AveragePool<{WINDOW}, pads=[1,1,1,1]>(x)",
    f"{{y}} = AveragePool<{WINDOW}, pads=[1,1,1,1], count_include_pad=1>(x)",
    "{y} = LpPool<kernel_shape=[3,2]>(x)",
    f"{{y}} = AveragePool<{LOWER}, {WINDOW}, count_include_pad=1>(x)",
    f"{{y}} = AveragePool<{UPPER}, {WINDOW}, count_include_pad=1>(x)",
    f"{{y}} = LpPool<{UPPER}, kernel_shape=[3,3], strides=[3,3]>(x)",
    f"{{y}} = LpPool<{LOWER}, {WINDOW}, p=3>(x)",
    "{y} = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, k3)",
    "{y} = ConvTranspose<group=4, strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, k8)",
    "{y} = ConvTranspose<dilations=[2,2], strides=[2,2]>(x, k3)",
    f"{{y}} = ConvTranspose<{UPPER}, strides=[2,2]>(x, k3)",
    *(f"{{y}} = Resize<{how}>(x, , double)" for how in (LINEAR, FLOOR)),
    f'{{y}} = Resize<{LINEAR}, coordinate_transformation_mode="align_corners">(x, , double)',
    f'{{y}} = Resize<{LINEAR}, coordinate_transformation_mode="asymmetric">(x, , double)',
    *(f"{{y}} = Resize<{LINEAR}>(x, , {scale})" for scale in ("part", "down", "less")),
    *(f"{{y}} = Resize<{FLOOR}>(x, , {scale})" for scale in ("part", "less")),
    *(f'{{y}} = Resize<mode="cubic">(x, , {scale})' for scale in ("double", "part", "less")),
    '{y} = Resize<mode="cubic", coordinate_transformation_mode="align_corners">(x, , double)',
    f'{{y}} = Resize<{LINEAR}, coordinate_transformation_mode="asymmetric">(x, , part)',
    *('{y} = Pad<mode="edge">(x, near)', '{y} = Pad<mode="reflect">(x, near)'),
    *('{y} = Pad<mode="wrap">(x, near)', "{y} = Pad(x, near, half)", "{y} = Pad(x, cut)"),
    '{y}_m = MaxPool<kernel_shape=[8,8], strides=[8,8]>(x) {y} = Pad<mode="wrap">({y}_m, around)',
    "{y} = DepthToSpace<blocksize=2>(x)",
    *(f"{{y}} = Global{kind}Pool(x)" for kind in ("Average", "Max", "Lp")),
    *(f"{{y}} = Reduce{name}(x, hw)" for name in ("Max", "Min", "Mean", "L1", "L2", "Sum")),
    *(f"{{y}} = {name}(x, a3)" for name in ("ReduceSumSquare", "ReduceLogSumExp")),
    "{y}_e = Exp(x) {y} = ReduceLogSum({y}_e, a3)",
    "{y}_t = Tanh(x) {y} = ReduceProd({y}_t, n1)",
    *("{y} = CumSum(x, second)", "{y} = CumSum<reverse=1, exclusive=1>(x, third)"),
    *("{y}, {y}_i = TopK<axis=3>(x, n2)", "{y}_i = ArgMax<axis=3>(x) {y} = Cast<to=1>({y}_i)"),
    "{y}_i = ArgMin<axis=2>(x) {y} = Cast<to=1>({y}_i)",
    "{y}_i = Cast<to=7>(x) {y}_h = OneHot<axis=2>({y}_i, classes, off_on)"
    " {y} = ReduceMax({y}_h, n1)",
    "{y}_n = ReduceMax<keepdims=0>(x, rest) {y}_l = Clip({y}_n, one_step, five_steps)"
    " {y}_i = Cast<to=7>({y}_l) {y}_t = Transpose<perm=[0,2,1,3]>(x)"
    " {y} = ReverseSequence<batch_axis=0, time_axis=1>({y}_t, {y}_i)",
    *("{y} = Softmax<axis=2>(x)", "{y} = LogSoftmax<axis=3>(x)", "{y} = Trilu(x)"),
    *(
        "{y} = InstanceNormalization(x, gain, shift)",
        "{y} = MeanVarianceNormalization<axes=[2,3]>(x)",
    ),
    "{y} = GroupNormalization<num_groups=4>(x, gain, shift)",
    *("{y} = LRN<size=3>(x)", "{y} = LpNormalization<axis=2>(x)", "{y} = PRelu(x, p1)"),
    "{y}_f = Reshape(x, flat) {y}_s = Softmax<axis=2>({y}_f) {y} = ReduceMax({y}_s, n2)",
    "{y}_f = Reshape(x, flat) {y}_t = Transpose<perm=[0,2,1]>({y}_f) {y} = MatMul({y}_t, rows)",
    "{y}_f = Reshape(x, flat) {y}_t = Transpose<perm=[0,2,1]>({y}_f) {y} = MatMul({y}_f, {y}_t)",
    "{y}_f = Reshape(x, flat) {y}_t = Transpose<perm=[0,2,1]>({y}_f) {y}_g = MatMul({y}_f, {y}_t)"
    " {y} = Add({y}_g, square)",
    *("{y} = Tile(x, twice)", '{y} = Einsum<equation="bchw,bcvw->bchv">(x, x)'),
    *(
        "{y}, {y}_2 = Split<axis=2, num_outputs=2>(x)",
        "{y}_1, {y} = Split<axis=3, num_outputs=2>(x)",
    ),
    *(
        f"{parts} = Split<axis=3, num_outputs=3>(x)"
        for parts in ("{y}, {y}_2, {y}_3", "{y}_1, {y}_2, {y}")
    ),
    "{y}_1, {y}, {y}_3 = Split<axis=2, num_outputs=3>(x)",
    "{y}_t = Transpose<perm=[0,2,3,1]>(x) {y} = Reshape({y}_t, of_channels)",
    "{y}_t = Transpose<perm=[0,2,3,1]>(x) {y} = Reshape({y}_t, groups)",
    "{y}_t = Transpose<perm=[0,2,3,1]>(x) {y}_g = Reshape({y}_t, groups)"
    " {y}_m = Transpose<perm=[0,1,2,4,3]>({y}_g) {y} = Reshape({y}_m, channels)",
    "{y}_c = Conv(x, pair) {y}_t = Mul({y}_c, side) {y}_g = Transpose<perm=[0,2,3,1]>({y}_t)"
    " {y} = GridSample(x, {y}_g)",
    "{y}_c = Conv<strides=[2,2]>(x, pair) {y}_t = Mul({y}_c, side)"
    " {y}_g = Transpose<perm=[0,2,3,1]>({y}_t)"
    ' {y} = GridSample<mode="cubic", padding_mode="reflection", align_corners=1>(x, {y}_g)',
    "{y}_k = Conv(x, pair) {y}_m = GlobalAveragePool({y}_k) {y}_s = Reshape({y}_m, shift_of_one)"
    " {y}_g = Add({y}_s, crop) {y}_t = Mul({y}_g, side) {y} = GridSample(x, {y}_t)",
    "{y}_a = Slice(x, m1, far, a2) {y}_b = Slice(x, n0, m1, a2) {y} = Concat<axis=2>({y}_a, {y}_b)",
)
# The same for lengths that two divides.
EVEN = (*("{y} = SpaceToDepth<blocksize=2>(x)", f"{{y}} = Resize<{FLOOR}>(x, , down)"),)
# What a file for one size says with numbers that may be of that size, or what Keras says so.
ONE = (
    *(
        "{y} = Slice(x, middle, far, a2)",
        "{y} = Slice(x, n0, middle, a2)",
        "{y} = Gather<axis=2>(x, end)",
    ),
    *("{y} = Gather<axis=2>(x, high)", "{y}_1, {y} = Split<axis=2>(x, split)"),
    f"{{y}} = AveragePool<{LOWER}, kernel_shape=[3,3], strides=[1,2], count_include_pad=1>(x)",
    f"{{y}} = Conv<{LOWER}, strides=[3,3]>(x, k2)",
    *(f"{{y}} = {kind}Pool<kernel_shape=[32,40]>(x)" for kind in ("Max", "Average")),
    *(f"{{y}} = Resize<{how}>(x, , , sizes)" for how in (LINEAR, NEAREST)),
    '{y} = Resize<mode="cubic", cubic_coeff_a=-0.5>(x, , double)',
    "{y} = ConvTranspose<strides=[2,2], output_shape=[64,80]>(x, k3)",
    *("{y} = Add(x, map)", "{y} = Add(x, line)", "{y} = MatMul(x, over)"),
    "{y} = Concat<axis=1>(x, map)",
    "{y}_m = GlobalMaxPool(x) {y} = Expand({y}_m, whole)",
    "{y} = LayerNormalization<axis=2>(x, area)",
    *("{y}, {y}_i = TopK<axis=3>(x, many)", "{y} = Hardmax<axis=3>(x)"),
    "{y}_i = ArgMax<axis=3, select_last_index=1>(x) {y} = Cast<to=1>({y}_i)",
    "{y}_g = Reshape(x, windows) {y} = ReduceMax({y}_g, n2)",
    "{y}_f = Reshape(x, flat) {y}_h = Reshape({y}_f, heads) {y}_m = Softmax<axis=1>({y}_h)"
    " {y} = Reshape({y}_m, joined)",
    "{y} = GatherElements<axis=2>(x, picked)",
    "{y} = ScatterND(x, first, map_of_one)",
    "{y} = GridSample(x, places)",
    "{y}_c = Conv(x, pair) {y}_m = GlobalMaxPool({y}_c) {y}_s = Reshape({y}_m, shift_of_one)"
    " {y}_g = Add({y}_s, places) {y} = GridSample(x, {y}_g)",
    "{y}_s = ReduceSum(x, hw) {y} = Mul({y}_s, share)",
    "{y}_m = MatMul(x, over) {y} = Mul({y}_m, side)",
)
