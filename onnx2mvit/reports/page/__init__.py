"""report.html: what report.json says, as one page that needs no network and runs no script."""

from onnx2mvit.reports.page.page import render, render_evaluation, render_in_notebook

__all__ = ["render", "render_evaluation", "render_in_notebook"]
