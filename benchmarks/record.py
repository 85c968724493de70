"""docs/peers.json: what was measured, with versions, the day and the machine."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.conversion import RESULT
from benchmarks.networks import FACTS, NETWORKS, Network
from benchmarks.peers import CONTENDERS, ENVIRONMENTS
from benchmarks.places import NETWORKS as NETWORK_FOLDERS
from benchmarks.places import RECORD, RESULTS
from benchmarks.turns import TIMES
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.versions import installed
from onnx2mvit.version import __version__

# What runs the files, in our environment.
RUN_BY = ("onnxruntime", "openvino", "ai-edge-litert", "tensorflow", "keras", "torch")
LOAD = ("others", "load_average", "threads", "rounds", "date")
DIGITS = 4

Record = dict[str, Any]


def read() -> Record:
    """The record as it is kept."""
    kept: Record = json.loads(RECORD.read_text(encoding="utf-8"))
    return kept


def write() -> None:
    """Takes what lies in build/peers into the record; networks that do not stay as they were."""
    networks = read()["networks"] if RECORD.exists() else {}
    networks |= {each.name: row for each in NETWORKS if (row := measured(each))}
    order = [each.name for each in NETWORKS if each.name in networks]
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "environments": {each.name: list(each.packages) for each in ENVIRONMENTS},
        "networks": {name: networks[name] for name in order},
    }
    RECORD.write_text(json_text(short(record)), encoding="utf-8")


def measured(network: Network) -> Record | None:
    """What there is of a network: facts, a row for each contender, and the load while timing."""
    facts, times = NETWORK_FOLDERS / network.name / FACTS, RESULTS / network.name / TIMES
    batches = loaded(times) if times.exists() else {}
    rows = []
    for contender in CONTENDERS:
        kept = contender.folder(network.name) / RESULT
        if not kept.exists():
            continue
        row: Record = {"peer": contender.peer, "form": contender.form} | loaded(kept)
        for key in ("seconds", "ratios"):
            row[f"timed_{key}"] = {
                batch: found[key][contender.key]
                for batch, found in batches.items()
                if contender.key in found[key]
            }
        larger = batches.get("1", {}).get("larger", {}).get(contender.key)
        rows.append({"other_sizes": larger} | row)
    load = {batch: {key: found[key] for key in LOAD} for batch, found in batches.items()}
    known = {"title": network.title, "load": load, "rows": rows}
    return known | loaded(facts) if rows else None


def loaded(path: Path) -> Record:
    """A file of JSON."""
    found: Record = json.loads(path.read_text(encoding="utf-8"))
    return found


def machine() -> Record:
    """What it is measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": names[0] if names else platform.processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(pages / 1e9),
        "system": platform.system(),
    }


def versions() -> Record:
    """Ours, and of what runs the files."""
    found = {"onnx2mvit": __version__, "python": platform.python_version()}
    return found | {name: number for name in RUN_BY if (number := installed(name))}


def short(value: Any) -> Any:
    """Numbers with so many digits as mean something."""
    if isinstance(value, dict):
        return {key: short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [short(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
