"""What the axes of tensors are: batch, channels, height, width.

A convolution says so of what it takes and gives. From there it is followed, forwards and
backwards, through all that keeps an axis or moves it: a Transpose at the beginning of a file tells
that its images are NHWC.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import SPACE, Axes, channels_last, plain, reshaped_groups

Place = tuple[Value, int]  # an axis of a tensor
# They take and give channels after the batch.
CHANNELS_FIRST = frozenset(
    {
        *("Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool"),
        *("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "DepthToSpace", "SpaceToDepth"),
        *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"),
    }
)
REDUCING = ("Reduce", "ArgM")  # what these names begin with


def named_axes(graph: Graph) -> dict[Value, Axes]:
    """The names of the axes of all tensors, in the order that ONNX has them in.

    The nearest node that says so counts. None for an axis that nothing tells.
    """
    links: defaultdict[Place, list[Place]] = defaultdict(list)
    for node in graph:
        for value in node.inputs:
            if value is not None and value.const is None and value.shape is not None:
                for one, other in same_axes(node, value):
                    links[value, one].append((node.output, other))
                    links[node.output, other].append((value, one))
    names: dict[Place, str] = {}
    for value, channels in graph.channel_axes.items():
        _spread(_named(value, channels), links, names)
    _spread((pair for node in graph for pair in _said(node)), links, names)
    # A mean over all axes but one says less, as it might be over anything: it comes last.
    _spread((pair for node in graph for pair in _said_by_mean(node)), links, names)
    for node in graph.of(["Reshape"]):
        _spread(_said_by_reshape(node, names), links, names)
    values = dict.fromkeys(value for value, _ in names)
    return {
        value: _completed([names.get((value, axis)) for axis in range(len(value.shape or ()))])
        for value in values
    }


def _spread(
    said: Iterable[tuple[Place, str]], links: dict[Place, list[Place]], names: dict[Place, str]
) -> None:
    """Names what is linked to named places; what has a name keeps it."""
    waiting = deque(said)
    while waiting:
        place, name = waiting.popleft()
        if place not in names:
            names[place] = name
            waiting.extend((other, name) for other in links[place])


def _completed(axes: list[str | None]) -> Axes:
    """One axis of four is left where batch, height and width are known: the channels."""
    if len(axes) == 4 and {"height", "width"} <= set(axes) and "channels" not in axes:
        left = [axis for axis, name in enumerate(axes) if name is None and axis > 0]
        if len(left) == 1:
            axes[left[0]] = "channels"
    return tuple(axes)


def _said(node: Node) -> Iterator[tuple[Place, str]]:
    """What a node says of its tensors by being what it is."""
    if node.op in ("Resize", "Upsample"):
        yield from _said_by_resize(node)
    for value in (*node.inputs[:1], node.output):
        rank = len(value.shape or ()) if value is not None else 0
        if value is None or rank not in SPACE:
            continue
        if isinstance(node, Block):
            made = value is node.output
            order = node.pattern.gives(rank) if made else node.pattern.order(rank)
            knows = not node.pattern.keeps(plain(rank)) and order == channels_last(rank)
        else:
            knows = node.op in CHANNELS_FIRST
        if knows:
            yield from _named(value, 1)


def _said_by_resize(node: Node) -> Iterator[tuple[Place, str]]:
    """Of images height and width are resized; what stays is the batch and the channels."""
    before, after = (
        value.shape if value is not None else None for value in (node.inputs[0], node.output)
    )
    if before is None or after is None or len(before) != 4:
        return
    resized = [axis for axis in range(4) if before[axis] != after[axis]]
    if resized in ([1, 2], [2, 3]):
        yield from _named(node.output, 6 - sum(resized))


def _said_by_mean(node: Node) -> Iterator[tuple[Place, str]]:
    value = node.inputs[0] if node.inputs else None
    if node.op != "ReduceMean" or value is None or len(value.shape or ()) != 4:
        return
    axes = {axis % 4 for axis in node.attrs.get("axes") or ()}
    left = {1, 2, 3} - axes
    if 0 not in axes and len(left) == 1 and 2 not in left:
        yield from _named(value, left.pop())


def _said_by_reshape(node: Node, names: Mapping[Place, str]) -> Iterator[tuple[Place, str]]:
    """Rows of windows are rows, and joined with what is in a window they are rows again."""
    value, made = node.inputs[0], node.output
    if value is None or value.shape is None or made.shape is None:
        return
    for old, new in reshaped_groups(value.shape, made.shape) or ():
        known = [name for axis in old if (name := names.get((value, axis))) is not None]
        if len(known) == 1 and known[0] != "channels" and 1 in (len(old), len(new)):
            yield (made, new[0]), known[0]


def _named(value: Value, channels: int) -> Iterator[tuple[Place, str]]:
    rank = len(value.shape or ())
    space = iter(SPACE.get(rank, ()))
    for axis in range(1, rank) if rank in SPACE else ():
        yield (value, axis), "channels" if axis == channels else next(space)


def same_axes(node: Node, value: Value) -> Iterator[tuple[int, int]]:
    """Which axes of an input are which of the (first) output."""
    before, after = value.shape or (), node.output.shape
    if after is None:
        return
    rank = len(before)
    if isinstance(node, Block) and rank == len(after):
        yield from zip(node.pattern.order(rank), node.pattern.gives(rank), strict=True)
        return
    match node.op:
        case "Transpose":
            perm = node.attrs.get("perm") or tuple(reversed(range(rank)))
            yield from ((old, new) for new, old in enumerate(perm))
        case "Reshape":
            for old, new in reshaped_groups(before, after) or ():
                if len(old) == len(new) == 1:
                    yield old[0], new[0]
        case "Einsum":
            yield from _by_letter(node, value)
        case "Gather":
            yield from _gathered(node, value, len(after))
        case "MatMul" if value is not node.inputs[0]:
            yield from ((axis, axis) for axis in range(rank) if axis != rank - 2)
        case "OneHot":  # of the indices; depth and values have none of them
            made = node.attrs.get("axis", -1) % len(after)
            if value is node.inputs[0]:
                yield from ((axis, axis + (axis >= made)) for axis in range(rank))
        case "AffineGrid":
            yield 0, 0
        case "Select":
            yield from _axes_left([node.attrs["axis"] % rank], rank)
        case op if op.startswith(REDUCING) and len(after) < rank:
            yield from _axes_left(reduced_axes(node, rank), rank)
        case _ if rank <= len(after):  # element by element, or the same axes of other lengths
            ahead = len(after) - rank
            for axis, length in enumerate(before):
                if not ahead or length == after[axis + ahead]:
                    yield axis, axis + ahead


def _by_letter(node: Node, value: Value) -> Iterator[tuple[int, int]]:
    left, _, result = node.attrs["equation"].replace(" ", "").partition("->")
    for term, other in zip(left.split(","), node.inputs, strict=False):
        if other is value and "." not in term + result:
            yield from ((at, result.index(x)) for at, x in enumerate(term) if x in result)


def _gathered(node: Node, value: Value, rank: int) -> Iterator[tuple[int, int]]:
    data, indices = node.inputs[:2]
    if data is None or indices is None:
        return
    own, count = len(data.shape or ()), len(indices.shape or ())
    axis = node.attrs.get("axis", 0) % max(own, 1)
    if value is data:
        yield from ((at, at if at < axis else at + count - 1) for at in range(own) if at != axis)
    else:
        yield from ((at, axis + at) for at in range(count))


def reduced_axes(node: Node, rank: int) -> list[int]:
    """The axes that a reduction, ArgMax or ArgMin goes over, counted from the front."""
    given = node.attrs.get("axes")
    if node.op.startswith("Arg"):
        given = [node.attrs.get("axis", 0)]
    elif given is None and len(node.inputs) > 1 and (axes := node.inputs[1]) is not None:
        given = axes.const.reshape(-1).tolist() if axes.const is not None else None
    return [axis % rank for axis in given] if given else list(range(rank))


def _axes_left(gone: Collection[int], rank: int) -> Iterator[tuple[int, int]]:
    """The axes that stay when others are taken away, and where they stand then."""
    kept = [axis for axis in range(rank) if axis not in gone]
    return ((axis, at) for at, axis in enumerate(kept))
