"""The process of the command `onnx2mvit`, which is also `python -m onnx2mvit`."""

from __future__ import annotations

import gc

from onnx2mvit.base.collector import collector_paused


def command() -> None:
    """Runs the command line, and never looks for garbage.

    A command makes little of it, but TensorFlow's import makes a million objects, and looking
    through them again and again took 2 of the 11 seconds of a conversion.
    """
    with collector_paused():
        from onnx2mvit.cli.main import main

        try:
            main()
        finally:
            gc.freeze()  # nor when the process ends


if __name__ == "__main__":
    command()
