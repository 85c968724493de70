"""Stage two, lift: patterns collapse the graph into named blocks, from the bottom up.

In: `Graph` and patterns. Out: `Network`. Begin with `lift`; `naming` gives blocks torch's names.
"""
