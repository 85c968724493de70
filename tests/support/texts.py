"""The blocks of MobileViT in ONNX's text format, and how to change one detail of them.

`residual().but("Add(x, project)", "Add(other, project)")` is a near miss of an inverted residual.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.matcher.bindings import Trace
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.graphs import graph

BATCH, SIZE, PATCH, DIM, HEADS = 2, 8, 4, 8, 2
PATCHES = (SIZE // PATCH) ** 2
IMAGE = f"float[{BATCH},8,{SIZE},{SIZE}]"
TOKENS = [BATCH * PATCH * PATCH, PATCHES, DIM]


@dataclass(frozen=True)
class Text:
    """Nodes and the weights they need; a weight is an array, or the shape of a random one."""

    nodes: str
    weights: dict[str, Any] = field(default_factory=dict)

    def __add__(self, after: "Text") -> "Text":
        return Text(self.nodes + after.nodes, self.weights | after.weights)

    def but(self, old: str, new: str, **weights: Any) -> "Text":
        """The same with this one detail changed."""
        assert self.nodes.count(old) == 1, f"{old!r} comes {self.nodes.count(old)} times"
        return replace(self, nodes=self.nodes.replace(old, new)).having(**weights)

    def having(self, **weights: Any) -> "Text":
        """The same with these weights."""
        return replace(self, weights=self.weights | weights)

    def read(
        self, folder: Path, *, image: str = IMAGE, outputs: str = "y", opset: int = 20
    ) -> Graph:
        """The graph with these nodes between the image `x` and the outputs."""
        made = ", ".join(f"float {name}" for name in outputs.split())
        body = f"g ({image} x) => ({made}) {{ {self.nodes} }}"
        return graph(folder, body, opset=opset, **self.weights)

    def lifted(self, folder: Path, **how: Any) -> Network:
        """The same in blocks."""
        return lift(self.read(folder, **how))

    def reason(self, folder: Path, kind: str, **how: Any) -> str:
        """Why it is not this block, whatever else it is: the attempt that came furthest."""
        return nearest(self.read(folder, **how), kind)


def nearest(graph: Graph, kind: str) -> str:
    """Why a graph has no block of this kind: the attempt that came furthest."""
    patterns = {pattern.kind: pattern for pattern in builtin_patterns()}
    pattern, wanted = patterns[kind], [kind]
    below: set[str] = set()
    while wanted:
        parts = patterns[wanted.pop()].ops & patterns.keys()
        below |= parts
        wanted.extend(parts)
    lower = [pattern for pattern in patterns.values() if pattern.kind in below]
    network, trace = lift(graph, lower), Trace(kind)
    for root in reversed(network.graph.of(pattern.roots)):
        find(pattern, network.graph, root, trace)
    return trace.furthest.reason if trace.furthest else ""


def every(network: Network, kind: str) -> list[Block]:
    """All blocks of a kind that a pattern took, however deep."""
    tops = [top for top in network.blocks if top.code is None]
    return [block for top in tops for block in top.walk() if block.kind == kind]


def kinds(network: Network) -> set[str]:
    """The kinds of all blocks that a pattern took."""
    return {block.kind for top in network.blocks if top.code is None for block in top.walk()}


def only(network: Network, kind: str) -> Block:
    """The one block of this kind."""
    (block,) = every(network, kind)
    return block


def conv(
    x: str,
    y: str,
    filters: int,
    channels: int,
    kernel: int = 3,
    attrs: str = "",
    group: int = 1,
    bias: bool = True,
) -> Text:
    """A convolution that keeps the size, unless the attributes say otherwise."""
    pads = "" if "pad" in attrs else f"pads=[{','.join([str(kernel // 2)] * 4)}],"
    weights = {f"{y}_w": (filters, channels // group, kernel, kernel), f"{y}_b": (filters,)}
    third = f", {y}_b" if bias else ""
    nodes = f"{y} = Conv<{pads} group={group} {attrs and ',' + attrs}>({x}, {y}_w{third})\n"
    return Text(nodes, weights if bias else {f"{y}_w": weights[f"{y}_w"]})


def silu(x: str, y: str) -> Text:
    return Text(f"{y}_s = Sigmoid({x})  {y} = Mul({x}, {y}_s)\n")


def conv_silu(x: str, y: str, filters: int, channels: int, kernel: int = 3, **how: Any) -> Text:
    return conv(x, f"{y}_c", filters, channels, kernel, **how) + silu(f"{y}_c", y)


def residual(strides: int = 1, filters: int = 8) -> Text:
    """An inverted residual, 8 channels expanded to 32, that adds its input."""
    steps = f"strides=[{strides},{strides}]"
    return (
        conv_silu("x", "expand", 32, 8, 1)
        + conv_silu("expand", "depthwise", 32, 32, 3, group=32, attrs=steps)
        + conv("depthwise", "project", filters, 32, 1)
        + Text("y = Add(x, project)")
    )


def dense(x: str, y: str, units: int = DIM, channels: int = DIM) -> Text:
    return Text(
        f"{y}_m = MatMul({x}, {y}_w)  {y} = Add({y}_b, {y}_m)\n",
        {f"{y}_w": (channels, units), f"{y}_b": (units,)},
    )


def layer_norm(x: str, y: str) -> Text:
    return Text(
        f"{y} = LayerNormalization<axis=-1>({x}, {y}_g, {y}_b)\n",
        {f"{y}_g": (DIM,), f"{y}_b": (DIM,)},
    )


def attention(x: str, y: str, p: str = "") -> Text:
    """Multi-head self-attention of tokens; `p` begins the names inside."""
    batch, tokens, _ = TOKENS
    text = sum((dense(x, f"{p}{name}") for name in "qkv"), Text(""))
    text += Text(
        f"""
        {p}q1 = Reshape({p}q, {p}split)  {p}q2 = Transpose<perm=[0,2,1,3]>({p}q1)
        {p}k1 = Reshape({p}k, {p}split)  {p}k2 = Transpose<perm=[0,2,3,1]>({p}k1)
        {p}v1 = Reshape({p}v, {p}split)  {p}v2 = Transpose<perm=[0,2,1,3]>({p}v1)
        {p}scores = MatMul({p}q2, {p}k2)
        {p}scaled = Div({p}scores, {p}root)
        {p}share = Softmax<axis=-1>({p}scaled)
        {p}mixed = MatMul({p}share, {p}v2)
        {p}heads = Transpose<perm=[0,2,1,3]>({p}mixed)
        {p}joined = Reshape({p}heads, {p}join)
        """,
        {
            f"{p}split": [batch, tokens, HEADS, DIM // HEADS],
            f"{p}join": TOKENS,
            f"{p}root": (DIM / HEADS) ** 0.5,
        },
    )
    return text + dense(f"{p}joined", y)


def transformer(x: str, y: str, p: str = "") -> Text:
    """A pre-norm transformer layer with twice the channels inside."""
    return (
        layer_norm(x, f"{p}before")
        + attention(f"{p}before", f"{p}attended", p)
        + Text(f"{p}middle = Add({p}attended, {x})\n")
        + layer_norm(f"{p}middle", f"{p}after")
        + dense(f"{p}after", f"{p}in", 2 * DIM)
        + silu(f"{p}in", f"{p}act")
        + dense(f"{p}act", f"{p}out", DIM, 2 * DIM)
        + Text(f"{y} = Add({p}out, {p}middle)\n")
    )


def unfold(x: str, y: str) -> Text:
    side = SIZE // PATCH
    return Text(
        f"""
        u1 = Reshape({x}, u_rows)      u2 = Transpose<perm=[0,2,1,3]>(u1)
        u3 = Reshape(u2, u_patches)    u4 = Transpose<perm=[0,3,2,1]>(u3)
        {y} = Reshape(u4, u_tokens)
        """,
        {
            "u_rows": [BATCH * DIM * side, PATCH, side, PATCH],
            "u_patches": [BATCH, DIM, PATCHES, PATCH * PATCH],
            "u_tokens": TOKENS,
        },
    )


def fold(x: str, y: str) -> Text:
    side = SIZE // PATCH
    return Text(
        f"""
        f1 = Reshape({x}, f_patches)   f2 = Transpose<perm=[0,3,2,1]>(f1)
        f3 = Reshape(f2, f_rows)       f4 = Transpose<perm=[0,2,1,3]>(f3)
        {y} = Reshape(f4, f_image)
        """,
        {
            "f_patches": [BATCH, PATCH * PATCH, PATCHES, DIM],
            "f_rows": [BATCH * DIM * side, side, PATCH, PATCH],
            "f_image": [BATCH, DIM, SIZE, SIZE],
        },
    )


def mobilevit(depth: int = 2) -> Text:
    """A MobileViT block on 8 channels; its layers are a_, b_, …"""
    text = conv_silu("x", "local", 8, 8) + conv("local", "narrow", DIM, 8, 1, bias=False)
    text += unfold("narrow", "t0")
    for index in range(depth):
        text += transformer(f"t{index}", f"t{index + 1}", f"{'abc'[index]}_")
    return (
        text
        + layer_norm(f"t{depth}", "normed")
        + fold("normed", "image")
        + conv_silu("image", "project", 8, DIM, 1)
        + Text("both = Concat<axis=1>(x, project)\n")
        + conv_silu("both", "y", 8, 16)
    )
