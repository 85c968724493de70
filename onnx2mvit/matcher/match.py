"""One place where an expression holds, and all such places at a node."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.matcher.bindings import Bindings, MatchGroup, Search, Trace
from onnx2mvit.matcher.rooted import Array, Rooted, require


class Match:
    """One place where an expression holds. Roles and variables are attributes.

    A role is a `Node`, which may be a `Block`, or a tuple of them for a chain, or a tuple of
    matches for `each`; None where the alternative with it was not taken.
    A variable is a `Value`, a hyperparameter variable its value, None where no block had it.
    """

    def __init__(self, rooted: Rooted, graph: Graph, root: Node, found: Bindings) -> None:
        self.graph = graph
        self.root = root
        self.found = found
        self.nodes = tuple(dict.fromkeys(found.nodes))  # two expressions may be one node
        self.variables: dict[str, Any] = {}
        self.params: dict[str, Any] = {}
        for name in rooted.variables:
            self.variables[name] = found.params.get(name, (None,))[0]
            if name in found.params and not name.startswith("_"):
                self.params[name] = self.variables[name]
        self.bound: dict[str, Any] = {role: found.names.get(role) for role in rooted.roles}
        for role in rooted.groups:
            if isinstance(group := self.bound[role], MatchGroup):
                self.bound[role] = tuple(
                    Match(rooted, graph, part.nodes[0] if part.nodes else root, part)
                    for part in group.parts
                )

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["bound"][name]
        except KeyError:
            if name in (variables := self.__dict__.get("variables", {})):
                return variables[name]
            raise AttributeError(f"the pattern has no {name!r}") from None

    def named(self) -> Iterator[tuple[str, Node]]:
        """The nodes that have a role, with a number after it where they are several."""
        for role, bound in self.bound.items():
            if isinstance(bound, Node):
                yield role, bound
            elif isinstance(bound, tuple):
                for index, one in enumerate(bound):
                    # A chain has nodes, `each` has matches.
                    several = one.bound if isinstance(one, Match) else {role: one}
                    for each, node in several.items():
                        if isinstance(node, Node):
                            yield f"{each}.{index}", node

    def with_constants(self, arrays: Mapping[Value, Array]) -> Self:
        """The same place, with other arrays in some constants, and in the weights of blocks.

        They have the shape and dtype of those whose place they take.
        """

        def changed(bound: Any) -> Any:
            if isinstance(bound, Value):
                return replace(bound, const=arrays.get(bound, bound.const))
            if isinstance(bound, Block):
                return replace(bound, weights=bound.weights_from(arrays))
            if isinstance(bound, tuple):
                return tuple(map(changed, bound))
            return bound.with_constants(arrays) if isinstance(bound, Match) else bound

        made = copy.copy(self)
        made.bound = {role: changed(bound) for role, bound in self.bound.items()}
        return made

    def shape(self, role: str, rank: int | None = None) -> tuple[int, ...]:
        """The shape, in ONNX's order of axes, of a variable, or of what a role computes.

        Args:
            role: its name in the pattern.
            rank: how many axes it must have; by default any number.

        Raises:
            Mismatch: it is not known, or of another rank.
        """
        bound = self.bound[role]
        value = bound.output if isinstance(bound, Node) else bound
        shape: tuple[int, ...] = (value.shape if value is not None else None) or ()
        require(bool(shape), f"the shape of {role} is not known")
        require(rank in (None, len(shape)), f"{role} has rank {len(shape)}, not {rank}")
        return shape

    def common(self, roles: tuple[str, ...], *params: str) -> dict[str, Any]:
        """The hyperparameters that some blocks share.

        Args:
            roles: the blocks' names in the pattern.
            params: the hyperparameters. What a block does not have (the epsilon of an absent
                normalization) is left out.

        Raises:
            Mismatch: they differ.
        """
        shared: dict[str, Any] = {}
        owner: dict[str, str] = {}
        for role in roles:
            block = getattr(self, role)
            for name in params:
                if block is None or name not in block.params:
                    continue
                value = block.params[name]
                require(
                    shared.setdefault(name, value) == value,
                    f"{owner.get(name)} has {name} {shared[name]!r}, {role} has {value!r}",
                )
                owner.setdefault(name, role)
        return shared


def places(rooted: Rooted, graph: Graph, forward: bool = False) -> Iterator[Node]:
    """The nodes at which an expression may end as far as its operators and its outline say.

    They come from the output of the graph to its input, or `forward`. The graph may be changed on
    the way: a node that is gone is left out.
    """
    nodes = graph.of(rooted.roots) if graph.has(rooted.needs) else []
    outline, producer = rooted.outline, graph.producer
    for node in nodes if forward else reversed(nodes):
        try:
            fits = node in graph and (outline is None or outline[node.op](node, producer))
        except (Exception, SystemExit):  # a predicate's: the search raises it again, and is blamed
            fits = True
        if fits:
            yield node


def matches(
    rooted: Rooted, graph: Graph, root: Node, trace: Trace | None = None
) -> Iterator[Match]:
    """All ways in which an expression holds with this node as its last."""
    for found in rooted.search(Search(graph, trace), root.output, Bindings()):
        if found.nodes and found.nodes[0] is root:
            yield Match(rooted, graph, root, found)
