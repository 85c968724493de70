"""The values that the stages hand to each other: a graph of nodes, and blocks in it.

Begin with `graph`: `Value`, `Node`, `Graph`. `block` is a node that a pattern recognised, `layout`
the order of a value's axes in Keras and the place of its batch.
"""
