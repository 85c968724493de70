"""Compares with peers, step by step; what was done is kept in build/peers.

    python -m benchmarks [install] [convert] [time] [record] [page] [--networks …] [--peers …]

Without a step all are taken. `record` takes what is kept into docs/peers.json, from which alone
`page` is written; `convert` and `time` do again what is kept with --again.
"""

from __future__ import annotations

import argparse

from benchmarks import conversion, page, record, turns
from benchmarks.networks import NETWORKS
from benchmarks.peers import CONTENDERS, REFERENCE, NotInstalledError
from benchmarks.worker import RunError

STEPS = ("install", "convert", "time", "record", "page")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks")
    names, peers = [each.name for each in NETWORKS], [each.peer for each in CONTENDERS]
    parser.add_argument("steps", nargs="*", help=", ".join(STEPS))
    parser.add_argument("--networks", nargs="*", default=[], help=", ".join(names))
    parser.add_argument("--peers", nargs="*", default=[], help=", ".join(dict.fromkeys(peers)))
    parser.add_argument("--again", action="store_true", help="also what is kept")
    given = parser.parse_args()
    for what, asked, known in (
        ("step", given.steps, STEPS),
        ("network", given.networks, names),
        ("peer", given.peers, peers),
    ):
        for each in asked:
            if each not in known:
                parser.error(f"no {what} is called {each}: {', '.join(dict.fromkeys(known))}")
    networks = given.networks or names
    asked = {REFERENCE, *(given.peers or peers)}
    contenders = [each for each in CONTENDERS if each.peer in asked]
    steps = given.steps or STEPS
    if "install" in steps:
        for environment in dict.fromkeys(e for each in contenders if (e := each.environment)):
            try:
                environment.install()
            except NotInstalledError as error:
                print(f"{environment.name}: {error}", flush=True)
    for network in networks:
        if "convert" in steps:
            try:
                for contender in contenders:
                    conversion.convert(network, contender, given.again)
            except conversion.ExportError as error:
                print(f"{network}: {error}", flush=True)
    for network in networks:
        if "time" in steps:
            try:
                turns.time(network, contenders, given.again)
            except RunError as error:
                print(f"{network}: not timed: {error}", flush=True)
    if "record" in steps:
        record.write()
    if "page" in steps:
        page.write()


if __name__ == "__main__":
    main()
