"""Python's garbage collector, out of the way while large graphs are built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Puts off cyclic collection; usable as a decorator.

    A graph is one large cycle that stays alive, and looking it through again and again as it
    grows makes linear work take more than linear time (twice as long at 100,000 nodes).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
