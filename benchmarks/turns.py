"""Times all contenders on a network in turns, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

from benchmarks.conversion import kept
from benchmarks.peers import CONTENDERS, REFERENCE, Contender
from benchmarks.places import RESULTS
from benchmarks.worker import THREADS, start
from onnx2mvit.benchmarks.machine import Others, load_average
from onnx2mvit.runtimes.timing import in_turns
from onnx2mvit.runtimes.tolerances import SPEED

ROUNDS = 6
# Calls that do not count and calls that do, in each round, by the batch.
CALLS = {1: (3, 15), 8: (1, 5)}
TIMES = "times.json"


def time(network: str, contenders: Sequence[Contender], again: bool = False) -> None:
    """Times what was converted and answers rightly, at each batch; what was timed is kept.

    All are timed again where another contender came in: ratios are of one run.

    Raises:
        RunError: a runtime ended while it was timed.
    """
    times = RESULTS / network / TIMES
    found: dict[str, Any] = {}
    if times.exists() and not again:
        found = json.loads(times.read_text(encoding="utf-8"))
    for batch in CALLS:
        names = {each.key for each in contenders if _answers(network, each, batch)}
        timed = found.get(str(batch), {}).get("seconds", {}).keys()
        if names <= timed:
            continue
        names |= timed
        chosen = [each for each in CONTENDERS if each.key in names]
        found[str(batch)] = _timed(network, chosen, batch)
        times.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _answers(network: str, contender: Contender, batch: int) -> bool:
    found = kept(network, contender)
    error: float = found["errors"].get(str(batch), 1.0) if found else 1.0
    return error <= SPEED


def _timed(network: str, contenders: Sequence[Contender], batch: int) -> dict[str, Any]:
    """Seconds of all contenders, their ratios to the reference, and the load of the machine."""
    warm_up, timed = CALLS[batch]
    print(f"{network}, batch {batch}: {len(contenders)} contenders take turns", flush=True)
    with ExitStack() as stack:
        workers = {
            each.key: stack.enter_context(start(network, each, batch)) for each in contenders
        }
        blocks = {key: partial(each.block, warm_up, timed) for key, each in workers.items()}
        with Others(*(each.process.pid for each in workers.values())) as others:
            timings = in_turns(blocks, ROUNDS)
        larger = {key: each.larger() for key, each in workers.items()}
    reference = timings[next(each.key for each in contenders if each.peer == REFERENCE)]
    ratios = {key: timing.ratio(reference) for key, timing in timings.items()}
    return {
        "seconds": {key: timing.seconds for key, timing in timings.items()},
        "ratios": {key: [each.median, each.least, each.greatest] for key, each in ratios.items()},
        "larger": larger,
        "others": others.share,
        "load_average": load_average(),
        "threads": THREADS,
        "rounds": ROUNDS,
        "date": datetime.now(UTC).date().isoformat(),
    }
