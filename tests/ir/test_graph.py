"""The graph: whatever is done to it, it knows who makes and who reads what."""

import weakref
from collections import defaultdict

import networkx
import numpy as np
import pytest

from onnx2mvit.ir.graph import Graph, Node, Source, Value

SOURCE = Source("none.onnx", "", 17, "test", 0, "random", False, False)
SEEDS = range(25)


def node(op: str, *inputs: Value | None, outputs: int = 1, position: int = 0) -> Node:
    made = tuple(Value(f"{op}{position}.{index}") for index in range(outputs))
    return Node(op, inputs, made, position=(position,))


def row(*ops: str) -> tuple[Graph, list[Node]]:
    """x → op → op → … → output."""
    x = Value("x")
    nodes: list[Node] = []
    for position, op in enumerate(ops):
        nodes.append(node(op, nodes[-1].output if nodes else x, position=position))
    graph = Graph([x], [nodes[-1].output], SOURCE)
    for made in nodes:
        graph.add(made)
    return graph, nodes


def random_graph(seed: int, size: int = 30) -> Graph:
    """Nodes of up to three inputs and two outputs, with shared, repeated and absent inputs."""
    rng = np.random.default_rng(seed)
    values: list[Value | None] = [Value("x"), Value("c", const=np.ones(1)), None]
    graph = Graph([value for value in values[:1] if value], [], SOURCE)
    for position in range(size):
        inputs = [values[i] for i in rng.integers(0, len(values), rng.integers(1, 4))]
        made = node(f"Op{rng.integers(4)}", *inputs, outputs=int(rng.integers(1, 3)))
        made.position = (position,)
        graph.add(made)
        values += made.outputs
    graph.outputs = [value for value in values[-6:] if value][:3]
    return graph


def collapse_something(graph: Graph, rng: np.random.Generator) -> None:
    """Puts one node in the place of a random one and some of what it reads, as rewriting does."""
    nodes = list(graph)
    root = nodes[rng.integers(len(nodes))]
    sources = [each for each in graph.nx.predecessors(root) if rng.random() < 0.7]
    inside = {root, *sources}
    leaking = [
        value
        for source in sources
        for value in source.outputs
        if graph.is_output(value) or any(r not in inside for r in graph.consumers(value))
    ]
    read = [value for each in inside for value in each.inputs if value]
    inputs = dict.fromkeys(value for value in read if graph.producer(value) not in inside)
    outputs = (*root.outputs, *leaking)
    if any(_reaches(graph, each, value) for each in inside for value in inputs):
        return  # a block around something that stays outside would make a cycle
    graph.collapse(inside, Node("Block", tuple(inputs), outputs, position=root.position))


def _reaches(graph: Graph, start: Node, value: Value) -> bool:
    producer = graph.producer(value)
    return producer is not None and networkx.has_path(graph.nx, start, producer)


def assert_consistent(graph: Graph) -> None:
    """Everything that is stored equals what is worked out anew from the nodes' inputs."""
    producers = {value: each for each in graph for value in each.outputs}
    edges: set[tuple[Node, Node]] = set()
    readers: defaultdict[Value, list[Node]] = defaultdict(list)
    for reader in graph:
        for value in dict.fromkeys(reader.inputs):
            if value is None:
                continue
            readers[value].append(reader)
            producer = graph.producer(value)
            assert producer is producers.get(value)
            if producer is not None:
                edges.add((producer, reader))
    assert set(graph.nx.edges) == edges
    for value in {*producers, *readers, *graph.inputs}:
        assert set(graph.consumers(value)) == set(readers[value])
    kinds = {each.op for each in graph}
    assert set(graph.nx) == set(graph) == set(graph.of(kinds))
    assert len(graph) == len(list(graph)) == len(graph.of(kinds))
    assert networkx.is_directed_acyclic_graph(graph.nx)


def test_nodes_come_in_the_order_of_their_positions() -> None:
    graph, nodes = row("A", "B", "A", "C")
    assert list(graph) == nodes
    assert graph.of(["A"]) == [nodes[0], nodes[2]]
    assert graph.of(["C", "A", "nothing"]) == [nodes[0], nodes[2], nodes[3]]


def test_each_output_of_a_node_has_its_own_readers() -> None:
    x = Value("x")
    split = node("Split", x, outputs=2)
    first, second = split.outputs
    join = node("Add", second, second, position=1)
    graph = Graph([x], [join.output], SOURCE)
    graph.add(split)
    graph.add(join)
    assert list(graph.nx.edges) == [(split, join)]
    assert graph.consumers(first) == []
    assert graph.consumers(second) == [join]
    assert graph.consumers(x) == [split]


def test_a_removed_node_is_nowhere_any_more() -> None:
    graph, (a, b) = row("A", "B")
    graph.remove(b)
    assert b not in graph
    assert graph.of(["B"]) == []
    assert graph.consumers(a.output) == []
    assert graph.producer(b.output) is None


def test_removing_a_node_leaves_an_output_that_was_given_to_another() -> None:
    graph, (_, b) = row("A", "B")
    other = Node("C", b.inputs, b.outputs, position=(2,))
    graph.add(other)
    graph.remove(b)
    assert graph.producer(b.output) is other


def test_a_collapsed_node_stands_between_the_same_neighbours() -> None:
    graph, (a, b, c, d) = row("A", "B", "C", "D")
    block = Node("Block", (a.output,), (c.output,), position=c.position)
    graph.collapse([b, c], block)
    assert list(graph) == [a, block, d]
    assert graph.consumers(a.output) == [block]
    assert graph.consumers(c.output) == [d]
    assert graph.producer(c.output) is block
    assert d.inputs == (c.output,)


def test_a_copy_is_changed_by_itself() -> None:
    graph, (a, b) = row("A", "B")
    copy = graph.copy()
    copy.collapse([a, b], Node("Block", tuple(graph.inputs), (b.output,), position=(1,)))
    assert list(graph) == [a, b]
    assert graph.producer(b.output) is b
    assert copy.producer(b.output) is not b
    assert_consistent(graph)
    assert_consistent(copy)


def test_collapsing_the_last_node_keeps_the_output_of_the_graph() -> None:
    graph, (a, b) = row("A", "B")
    graph.collapse([a, b], Node("Block", tuple(graph.inputs), (b.output,), position=(1,)))
    assert [graph.producer(value) for value in graph.outputs] == list(graph)
    assert_consistent(graph)


def test_an_expanded_block_is_its_nodes_again() -> None:
    graph, (a, b, c, d) = row("A", "B", "C", "D")
    before = {node: list(graph.nx.successors(node)) for node in graph}
    block = Node("Block", (a.output,), (c.output,), position=c.position)
    graph.collapse([b, c], block)
    graph.expand(block, [c, b])
    assert list(graph) == [a, b, c, d]
    assert {node: list(graph.nx.successors(node)) for node in graph} == before
    assert graph.producer(c.output) is c
    assert_consistent(graph)


def test_redirecting_changes_every_reader_and_every_place() -> None:
    x = Value("x")
    a, b = node("A", x), node("B", x, position=1)
    c = node("C", a.output, b.output, a.output, position=2)
    graph = Graph([x], [a.output, c.output], SOURCE)
    for each in (a, b, c):
        graph.add(each)
    graph.redirect(a.output, b.output)
    assert c.inputs == (b.output, b.output, b.output)
    assert graph.outputs == [b.output, c.output]
    assert not graph.nx.has_edge(a, c)
    assert_consistent(graph)


def test_redirecting_keeps_the_names_under_which_outputs_are_known() -> None:
    graph, (a, b) = row("A", "B")
    graph.redirect(b.output, a.output)
    assert graph.output_names == ["B1.0"]
    assert [value.name for value in graph.outputs] == ["A0.0"]


def test_sweeping_removes_what_nothing_reads_and_nothing_else() -> None:
    graph, nodes = row("A", "B", "C")
    unread = node("D", nodes[0].output, position=3)
    also = node("E", unread.output, nodes[1].output, position=4)
    graph.add(unread)
    graph.add(also)
    graph.sweep()
    assert list(graph) == nodes
    assert_consistent(graph)


def test_a_value_read_by_many_is_known_without_looking_at_each() -> None:
    graph, (a, _) = row("A", "B")
    for position in range(2, 5):
        graph.add(node("C", a.output, position=position))
    assert graph.used_by_many(a.output, 3)
    assert not graph.used_by_many(a.output, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_collapses_keep_edges_and_consumers(seed: int) -> None:
    graph = random_graph(seed)
    assert_consistent(graph)
    rng = np.random.default_rng(seed)
    before = len(graph)
    outputs = list(graph.outputs)
    for _ in range(40):
        collapse_something(graph, rng)
        assert_consistent(graph)
    assert len(graph) < before
    assert graph.outputs == outputs


@pytest.mark.parametrize("seed", SEEDS)
def test_random_redirections_and_sweeps_keep_edges_and_consumers(seed: int) -> None:
    graph = random_graph(seed)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        nodes = list(graph)
        later = nodes[rng.integers(1, len(nodes))]
        earlier = nodes[rng.integers(nodes.index(later))]
        new = [*graph.inputs, *earlier.outputs][-1 if rng.random() < 0.8 else 0]
        graph.redirect(later.output, new)
        assert graph.consumers(later.output) == []
        assert_consistent(graph)
        if rng.random() < 0.3:
            graph.sweep()
            assert_consistent(graph)
        if len(graph) < 2:
            break


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_sweep_every_node_leads_to_an_output(seed: int) -> None:
    graph = random_graph(seed)
    ends = {graph.producer(value) for value in graph.outputs}
    useful = {
        each
        for each in graph
        if any(end and networkx.has_path(graph.nx, each, end) for end in ends)
    }
    assert useful < set(graph)
    graph.sweep()
    assert set(graph) == useful
    assert_consistent(graph)


def test_a_weight_that_nobody_reads_is_not_held() -> None:
    graph, (first, last) = row("Relu", "Add")
    array = np.ones(1)
    held, weight = weakref.ref(array), Value("w", const=array)
    last.inputs = (first.output, weight, weight)
    graph = graph.with_nodes([first, last])
    graph.collapse([last], Node("Relu", (first.output,), last.outputs, position=(1,)))
    last.inputs = ()
    del array, weight
    assert held() is None
    assert [each.op for each in graph.consumers(first.output)] == ["Relu"]
