"""The command line: a file for each command, and how results are shown on a terminal.

In: the arguments of the process. Out: its exit code. Begin with `main`.
"""

from onnx2mvit.cli.main import main

__all__ = ["main"]
