"""The process of the command `onnx2mvit`, which is also `python -m onnx2mvit`."""

import os
import sys


def command() -> None:
    """Runs the command line, and never looks for garbage.

    A command makes little of it, but TensorFlow's import makes a million objects, and looking
    through them again and again took 2 of the 11 seconds of a conversion.
    """
    try:
        import gc

        from onnx2mvit.base.backend import leave_out_extras
        from onnx2mvit.base.memory import give_back_at_once
        from onnx2mvit.ending import ending, own_process

        own_process()
        give_back_at_once()
        leave_out_extras()
    except KeyboardInterrupt:  # from here on it is looked after
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    gc.disable()
    try:
        with ending():
            from onnx2mvit.cli import main

            main()
    finally:
        gc.freeze()  # nor when the process ends


if __name__ == "__main__":
    command()
