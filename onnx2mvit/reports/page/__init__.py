"""report.html: what report.json says, as one page that needs no network and runs no script."""

from onnx2mvit.reports.page.page import render

__all__ = ["render"]
