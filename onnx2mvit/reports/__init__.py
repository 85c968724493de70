"""What is told of a conversion: report.json, report.html, and an overlay for Model Explorer.

In: `Network` and `Verification`. Out: plain values and text. Begin with `report`.
"""
