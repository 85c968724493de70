"""Names for blocks: torch's module paths, and from them the names of Keras's layers.

A block is called after the smallest module that holds all its weights. In the emitted functions
a child is called after its place below its parent in torch ("expand_1x1") where all blocks that
the function makes agree on it, and after its role in the pattern otherwise ("expand").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Literal

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.expr import Name
from onnx2mvit.ir.network import Network
from onnx2mvit.reader.scopes import common_prefix

# (function, role) → the name that the emitted function uses; "layer.{i}" for a chain.
Roles = dict[tuple[str, str], str]

ARITHMETIC = frozenset(("add", "subtract", "multiply", "divide", "negative", "power", "get_item"))
LONGEST = 200  # characters in a name


def named(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """These trees with the `name` and the `path` of every block.

    Different names may be one layer's: "a.b" and "a_b", which the flat model does not tell apart,
    or "a_conv" beside the conv of "a"; "Conv" and "conv" are one file on some systems. The later
    one of two gets a number then.
    """
    leaves = [leaf for top in blocks for leaf in top.walk() if leaf.weights]
    raw = {leaf: common_prefix([node.scope for node in leaf.onnx_nodes()]) for leaf in leaves}
    weighted = [top for top in blocks if any(leaf.weights for leaf in top.walk())]
    last = set(weighted[-1].walk()) if weighted else set()
    strip = _unwrap([raw[leaf] for leaf in leaves], [raw[leaf] for leaf in leaves if leaf in last])
    scopes = _Scopes({leaf: strip(scope) for leaf, scope in raw.items()}, strip)
    names = scopes.assign(blocks)
    _number_unnamed(blocks, names)
    numbers = count()
    paths, clashing = _paths(blocks, names)
    while clashing:
        for top in clashing:
            names[top] = f"{names[top][: LONGEST - 20]}_{next(numbers)}"
        paths, clashing = _paths(blocks, names)
    return tuple(
        top.changed(lambda block: {"name": names[block], "path": paths[block]}) for top in blocks
    )


def _paths(
    blocks: Sequence[Block], names: Mapping[Block, str]
) -> tuple[dict[Block, str], list[Block]]:
    """The paths of all blocks, and those at the top that share one with a block before them."""
    roles = _relative_names(blocks, names)
    paths: dict[Block, str] = {}
    taken: set[str] = set()
    clashing = []
    for top in blocks:
        _set_paths(paths, top, "", layer_name(top, names[top]), roles)
        own = {flat_name(paths[block]).lower() for block in top.walk()}
        if taken.isdisjoint(own):
            taken |= own
        else:
            clashing.append(top)
    return paths, clashing


def _unwrap(scopes: Sequence[str], head: Sequence[str]) -> Callable[[str], str]:
    """Takes off what wraps the network: modules around all of it, and a base model without head.

    `model.mobilevit.conv_stem` beside `model.classifier` is `conv_stem` beside `classifier`.
    """
    prefixes = []
    whole = common_prefix(scopes)
    if whole and whole not in scopes:
        prefixes.append(whole + ".")
    inner = [scope[len(whole) + 1 :] if prefixes else scope for scope in scopes]
    inner_head = {scope[len(whole) + 1 :] if prefixes else scope for scope in head}
    base = {scope.partition(".")[0] for scope in inner if scope not in inner_head}
    if len(base) == 1 and "" not in base:
        (segment,) = base
        below = [scope.removeprefix(segment + ".") for scope in inner]
        if len(set(below)) == len(set(inner)) and all(name[:1].isalpha() for name in below):
            prefixes.append(segment + ".")

    def strip(scope: str) -> str:
        for prefix in prefixes:
            scope = "" if scope + "." == prefix else scope.removeprefix(prefix)
        return scope

    return strip


class _Scopes:
    """Finds the module of every block."""

    def __init__(self, leaves: dict[Block, str], strip: Callable[[str], str]) -> None:
        self.leaves = leaves
        self.strip = strip
        self.weights_below: Counter[str] = Counter()
        for scope in leaves.values():
            self.weights_below.update(_ancestors(scope))

    def assign(self, blocks: Sequence[Block], parent: str | None = None) -> dict[Block, str]:
        """The names of these siblings and of all below them, "" for what has none."""
        names: dict[Block, str] = {}
        scopes = [self._scope(block) for block in blocks]
        taken = Counter(scopes)
        for block, scope in zip(blocks, scopes, strict=True):
            own = [leaf for leaf in block.walk() if leaf in self.leaves]
            if own and block.children and (taken[scope] > 1 or scope in ("", parent)):
                scope = self._first(block, own[0], {*taken, "", parent})
            names[block] = scope
            names |= self.assign(block.children, scope)
        return names

    def _first(self, block: Block, leaf: Block, taken: set[str | None]) -> str:
        """The module of the first child with weights, or if that will not do of its first leaf."""
        child = next(child for child in block.children if leaf in child.walk())
        scope = self._scope(child)
        return self.leaves[leaf] if scope in taken else scope

    def _scope(self, block: Block) -> str:
        own = [self.leaves[leaf] for leaf in block.walk() if leaf in self.leaves]
        if not own:
            return self.strip(common_prefix([node.scope for node in block.onnx_nodes()]))
        # Parameters of the network itself (a class token) have no module to be called after.
        own = [scope for scope in own if scope] or own
        scope = common_prefix(own)
        while block.children:
            # A module around it with nothing else in it is the block as well, up to the number
            # that a sequence gave it: `layer_1.0.block` is `layer_1.0`, and `s1.b1` is no stage.
            # (The number of its only layer is none of its own: `downsample.0` is `downsample`.)
            around = scope.rpartition(".")[0]
            numbered = scope[-1:].isdecimal() and scope not in own
            if not around or numbered or self.weights_below[around] != len(own):
                break
            scope = around
        return scope


def _ancestors(scope: str) -> Iterable[str]:
    while scope:
        scope = scope.rpartition(".")[0]
        yield scope


def _number_unnamed(blocks: Sequence[Block], names: dict[Block, str]) -> None:
    """Gives a numbered kind to what has no name, or that of one before it."""
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    for block in blocks:
        name = given = names[block]
        while not name or name in taken:
            stem = given or block.pattern.keras or snake(block.kind)
            # Keras calls its own operations add_1, add_2, …
            single = block.code is not None and not given and not stem[-1].isdecimal()
            name = f"{stem}{'' if single else '_'}{counts[stem]}"
            counts[stem] += 1
        taken.add(name)
        names[block] = name
        _name_children(block, names)


def _name_children(block: Block, names: dict[Block, str]) -> None:
    for child in block.children:
        if not names[child]:
            names[child] = f"{names[block]}.{child.role}"
        _name_children(child, names)


def relative_names(blocks: Sequence[Block]) -> Roles:
    """What each role is called in the emitted functions, of which patterns may share one."""
    return _relative_names(blocks, {block: block.name for top in blocks for block in top.walk()})


def _relative_names(blocks: Sequence[Block], names: Mapping[Block, str]) -> Roles:
    votes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for top in blocks:
        for parent in top.walk():
            for child in parent.children:
                key = _function(parent), role_template(child.role)
                name = _relative(child, names[parent], names[child])
                # A place in a sequence says less than the role.
                votes[key] |= {name} if name and not name.isdecimal() else set()
    roles = {key: names.pop() if len(names) == 1 else key[1] for key, names in votes.items()}
    taken = Counter((function, name) for (function, _), name in roles.items())
    return {key: name if taken[key[0], name] == 1 else key[1] for key, name in roles.items()}


def _function(block: Block) -> str:
    return block.pattern.keras or block.kind


def _relative(child: Block, around: str, name: str) -> str:
    """The child's place below its parent in torch, as a layer's name; "" if it has none."""
    if not name.startswith(around + "."):
        return ""
    relative = name[len(around) + 1 :]
    if role_template(child.role) == child.role:
        return layer_name(child, relative)
    number = child.role.rpartition(".")[2]
    stem = relative.removesuffix(number)
    # Names are made safe before the braces of the template come in: it lands in an f-string.
    return layer_name(child, stem) + "{i}" if stem != relative else ""


def _set_paths(paths: dict[Block, str], block: Block, inside: str, name: str, roles: Roles) -> None:
    """`inside` is the path of the model around it, with a slash, `name` that of its layer."""
    paths[block] = inside + name
    for child in block.children:
        relative = roles[_function(block), role_template(child.role)]
        relative = relative.replace("{i}", child.role.rpartition(".")[2])
        if block.pattern.nested:
            _set_paths(paths, child, paths[block] + "/", relative, roles)
        elif child.role == block.pattern.main:
            _set_paths(paths, child, inside, name, roles)
        else:
            _set_paths(paths, child, inside, f"{name}_{relative}", roles)


def role_template(role: str) -> str:
    """The role of a chain's link with its number left open: "layer.0" is "layer.{i}"."""
    stem, dot, number = role.rpartition(".")
    return f"{stem}.{{i}}" if dot and number.isdigit() else role


def layer_name(block: Block, name: str) -> str:
    """A name as Keras takes it: only models in the model may have dots (KeyError on torch)."""
    made = safe(name) if block.pattern.nested else identifier(name)
    return made or ("layer" if name else "")


def interface_names(network: Network, kind: Literal["input", "output"]) -> list[str]:
    """What Keras calls inputs or outputs: as the file does, where it can and nothing else does.

    Args:
        network: with the paths of its blocks.
        kind: also what is appended to a name that a layer has, or an output to one of an input, and
            the name of what has none that could be used.
    """
    graph, suffix = network.graph, kind
    names = [value.name for value in graph.inputs] if kind == "input" else graph.output_names
    taken = {block.path for top in network.blocks for block in top.walk()}
    taken |= {*interface_names(network, "input")} if kind == "output" else set()
    unnamed = _operations(network.blocks)
    found: list[str] = []
    for name in names:
        stem = identifier(name).strip("_") or suffix
        stem = stem if stem.isidentifier() else f"{suffix}_{stem}"
        stem = f"{stem}_{suffix}" if re.sub(r"_\d+$", "", stem) in unnamed else stem
        numbered = (f"{stem}_{number}" for number in count(2))
        wanted = chain([stem, f"{stem}_{suffix}"], numbered)
        found.append(next(each for each in wanted if each not in taken))
        taken.add(found[-1])
    return found


def _operations(blocks: Iterable[Block]) -> frozenset[str]:
    """What Keras calls operations that are given no name: as their function, or with a number."""
    exprs = (block.code.expr for block in blocks if block.code is not None)
    functions = {name.text for expr in exprs for name in expr.find(Name)}
    return ARITHMETIC | {text.rpartition(".")[2] for text in functions if text.startswith("ops.")}


def flat_name(path: str) -> str:
    """The name that a layer at this path has in the flat model."""
    return re.sub(r"[./]", "_", path)


def safe(name: str) -> str:
    """ASCII letters, digits, dots and underscores; the file is not trusted to hold only those.

    It does not begin with an underscore, which TensorFlow's scopes must not.
    """
    return re.sub(r"[^0-9A-Za-z_.]", "_", name)[:LONGEST].lstrip("_")


def identifier(name: str) -> str:
    """A safe name without dots."""
    return flat_name(safe(name))


def snake(kind: str) -> str:
    """A kind as a Python name: "InvertedResidual" is "inverted_residual"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", kind).lower()
