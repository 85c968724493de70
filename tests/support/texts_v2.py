"""The blocks of MobileViTv2 in ONNX's text format, as `texts` has those of MobileViT."""

from collections.abc import Callable

from tests.support.texts import Text, conv, conv_silu, silu

BATCH, SIZE, PATCH, DIM = 2, 8, 2, 6
SIDE = SIZE // PATCH
PATCHES = [BATCH, DIM, PATCH**2, SIDE**2]
IMAGE = f"float[{BATCH},8,{SIZE},{SIZE}]"
NARROW = f"float[{BATCH},{DIM},{SIZE},{SIZE}]"
PATCHED = f"float[{','.join(map(str, PATCHES))}]"


def group_norm(x: str, y: str) -> Text:
    """As in opset 21."""
    return Text(
        f"{y} = GroupNormalization<num_groups=1>({x}, {y}_g, {y}_b)\n",
        {f"{y}_g": (DIM,), f"{y}_b": (DIM,)},
    )


def linear(x: str, y: str, filters: int = DIM, channels: int = DIM) -> Text:
    return conv(x, y, filters, channels, 1)


def separable(x: str, y: str, p: str = "") -> Text:
    """Separable self-attention of patches; `p` begins the names inside."""
    return (
        linear(x, f"{p}qkv", 1 + 2 * DIM)
        + Text(
            f"""
            {p}q, {p}k, {p}v = Split<axis=1>({p}qkv, {p}parts)
            {p}share = Softmax<axis=-1>({p}q)
            {p}weighted = Mul({p}k, {p}share)
            {p}context = ReduceSum<keepdims=1>({p}weighted, {p}last)
            {p}act = Relu({p}v)
            {p}mixed = Mul({p}act, {p}context)
            """,
            {f"{p}parts": [1, DIM, DIM], f"{p}last": [-1]},
        )
        + linear(f"{p}mixed", y)
    )


def layer(x: str, y: str, p: str = "") -> Text:
    """A pre-norm transformer layer with twice the channels inside."""
    return (
        group_norm(x, f"{p}before")
        + separable(f"{p}before", f"{p}attended", p)
        + Text(f"{p}middle = Add({x}, {p}attended)\n")
        + group_norm(f"{p}middle", f"{p}after")
        + linear(f"{p}after", f"{p}in", 2 * DIM)
        + silu(f"{p}in", f"{p}silu")
        + linear(f"{p}silu", f"{p}out", DIM, 2 * DIM)
        + Text(f"{y} = Add({p}middle, {p}out)\n")
    )


def unfold(x: str, y: str) -> Text:
    return Text(
        f"""
        u1 = Reshape({x}, u_apart)  u2 = Transpose<perm=[0,1,3,5,2,4]>(u1)
        {y} = Reshape(u2, u_patches)
        """,
        {"u_apart": [BATCH, DIM, SIDE, PATCH, SIDE, PATCH], "u_patches": PATCHES},
    )


def cut_and_unfold(x: str, y: str) -> Text:
    """Of an image with one more row."""
    cut = {"u_zero": [0], "u_end": [SIZE], "u_axes": [2]}
    return Text(f"u0 = Slice({x}, u_zero, u_end, u_axes)\n", cut) + unfold("u0", y)


def fold(x: str, y: str) -> Text:
    return Text(
        f"""
        f1 = Reshape({x}, f_apart)  f2 = Transpose<perm=[0,1,4,2,5,3]>(f1)
        {y} = Reshape(f2, f_image)
        """,
        {"f_apart": [BATCH, DIM, PATCH, PATCH, SIDE, SIDE], "f_image": [BATCH, DIM, SIZE, SIZE]},
    )


def col2im(x: str, y: str, more: int = 0) -> Text:
    """With this many rows more."""
    return Text(
        f"""
        f1 = Reshape({x}, f_columns)
        {y} = Col2Im<strides=[2,2], pads=[0,0,0,0], dilations=[1,1]>(f1, f_size, f_patch)
        """,
        {
            "f_columns": [BATCH, DIM * PATCH**2, SIDE**2],
            "f_size": [SIZE + more, SIZE],
            "f_patch": [PATCH, PATCH],
        },
    )


def mobilevitv2(
    x: str = "x",
    depth: int = 2,
    unfolded: Callable[[str, str], Text] = unfold,
    folded: Callable[[str, str], Text] = fold,
    bias: bool = True,
) -> Text:
    """A MobileViTv2 block on 8 channels; its layers are a_, b_, …"""
    text = conv_silu(x, "local", 8, 8, group=8, bias=bias)
    text += conv("local", "narrow", DIM, 8, 1, bias=False) + unfolded("narrow", "t0")
    for index in range(depth):
        text += layer(f"t{index}", f"t{index + 1}", f"{'abc'[index]}_")
    text += group_norm(f"t{depth}", "normed") + folded("normed", "image")
    return text + conv("image", "y", 8, DIM, 1, bias=bias)
