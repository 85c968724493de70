"""The command line: a file for each command, and how results are shown on a terminal.

Begin with `main`.
"""
