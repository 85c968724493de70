"""The pattern language, and the search for its patterns in a graph.

In: a graph and a pattern. Out: a match, or the reason why there is none. Begin with `pattern`,
the language; `match` finds, `search` is the backtracking, `registry` the patterns in their order.
"""
