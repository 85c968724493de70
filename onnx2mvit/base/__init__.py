"""What every folder may import: numbers, quiet libraries, optional packages, output folders.

Nothing in here knows a graph or a model.
"""
