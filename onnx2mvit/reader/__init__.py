"""Stage one, read: an ONNX file becomes a `Graph` with concrete shapes and one spelling.

In: a path. Out: `ir.graph.Graph`. Begin with `read`; `rules` bring what exporters write
differently to one spelling.
"""
