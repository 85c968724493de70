"""What is told of a conversion: report.json, report.html, and an overlay for Model Explorer.

In: `Network` and `Verification`. Out: plain values and text. Begin with `describe` in `report`;
`conversion_report` is what report.json holds, `render` makes the page of it, `node_data` the
overlay.
"""

from onnx2mvit.reports.conversion import conversion_report
from onnx2mvit.reports.node_data import NAME as NODE_DATA
from onnx2mvit.reports.node_data import node_data
from onnx2mvit.reports.page import render, render_evaluation, render_in_notebook
from onnx2mvit.reports.read_report import how_read, report_beside
from onnx2mvit.reports.report import batch_normalization, describe, leftovers

__all__ = [
    "NODE_DATA",
    "batch_normalization",
    "conversion_report",
    "describe",
    "how_read",
    "leftovers",
    "node_data",
    "render",
    "render_evaluation",
    "render_in_notebook",
    "report_beside",
]
