"""What is told of a conversion: report.json, report.html, and an overlay for Model Explorer.

In: `Network` and `Verification`. Out: plain values and text. Begin with `describe` in `report`;
`render` makes the page of what report.json holds, `node_data` the overlay.
"""

from onnx2mvit.reports.node_data import NAME as NODE_DATA
from onnx2mvit.reports.node_data import node_data
from onnx2mvit.reports.page import render
from onnx2mvit.reports.report import (
    batch_normalization,
    by_rule,
    cut_of,
    describe,
    layout_transposes,
    leftovers,
    report_beside,
    shared_parameters,
    single_operators,
)

__all__ = [
    "NODE_DATA",
    "batch_normalization",
    "by_rule",
    "cut_of",
    "describe",
    "layout_transposes",
    "leftovers",
    "node_data",
    "render",
    "report_beside",
    "shared_parameters",
    "single_operators",
]
