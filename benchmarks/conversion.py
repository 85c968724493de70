"""What each peer makes of each network: the step that takes long, and is kept in build/peers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.networks import FACTS
from benchmarks.peers import Contender, NotInstalledError
from benchmarks.places import NETWORKS, ROOT
from benchmarks.process import Ended, run
from benchmarks.worker import start
from onnx2mvit.benchmarks.machine import load_average

RESULT, LOG = "result.json", "log.txt"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
# Loads a file of Keras as where nothing but Keras and TensorFlow is installed.
ALONE = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
for name in {hidden!r}: sys.modules[name] = None
import keras
keras.models.load_model({file!r})
"""
PACKAGES = ("onnx2mvit", "onnx2tf", "nobuco", "keras_hub", "tf_keras")


class ExportError(Exception):
    """A network of ours could not be exported here."""


def network_folder(network: str) -> Path:
    """Where a network lies that is given to peers; it is written if it is not there.

    Raises:
        ExportError: it cannot be exported.
    """
    folder = NETWORKS / network
    if not (folder / FACTS).exists():  # which is written last
        print(f"{network}: exporting", flush=True)
        command = (sys.executable, "-m", "benchmarks.networks", network, folder)
        ended = run(command, folder / "log.txt", ENVIRONMENT)
        if ended.code:
            raise ExportError(f"not exported: {ended.error}")
    return folder


def kept(network: str, contender: Contender) -> dict[str, Any] | None:
    """What was found of a conversion, where it was made."""
    file = contender.folder(network) / RESULT
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def convert(network: str, contender: Contender, again: bool = False) -> dict[str, Any]:
    """Lets a contender convert a network, and looks at what came out; what was done is kept.

    Returns:
        What `result.json` has: `code`, `seconds`, `cpu_seconds`, `memory_mb` and `error` of the
        conversion, `size_mb` of the file, `errors` against onnxruntime by batch, or `failures`
        that keep a file from running, of Keras models `layers`, `opaque`, `trainable`,
        `keras_alone` and `other_sizes`, and `load_average` of the machine.
    """
    found = kept(network, contender)
    if found and not again:
        return found
    folder = contender.folder(network)
    given = network_folder(network)
    print(f"{network}: {contender.peer}, {contender.form}", end="", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, Any] = {"errors": {}, "failures": {}}
    if contender.driver:
        result |= asdict(_converted(contender, given, folder, batch=1))
        if contender.fixed_batch and not result["code"]:
            for batch in contender.batches[1:]:
                ended = _converted(contender, given, folder, batch)
                if ended.code:
                    result["failures"][str(batch)] = ended.error
    if not result.get("error"):
        file = contender.artifact(network, batch=1)
        if contender.keras:
            result |= _described(contender, given, file.parent)
            file = file.parent / contender.keras
        if not file.exists():
            result["error"] = "ended with 0 and wrote no file"
    if not result.get("error"):
        result["size_mb"] = size(file) / 1e6
        for batch in contender.batches:
            if str(batch) not in result["failures"]:
                _run(network, contender, batch, result)
    result["load_average"] = load_average()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f": {told(result)}", flush=True)
    return result


def _converted(contender: Contender, given: Path, folder: Path, batch: int) -> Ended:
    made = folder / f"batch{batch}"
    made.mkdir(parents=True, exist_ok=True)
    try:
        if contender.environment:
            contender.environment.install()
    except NotInstalledError as error:
        return Ended(1, 0.0, 0.0, 0.0, f"not installed: {error}")
    assert contender.program is not None
    command = (contender.python, contender.program, contender.form, given, made, str(batch))
    return run(command, made / LOG, variables(contender))


def variables(contender: Contender) -> dict[str, str]:
    """The environment of a driver: peers look on the path for programs that came with them."""
    return ENVIRONMENT | {"PATH": f"{contender.python.parent}{os.pathsep}{os.environ['PATH']}"}


def _described(contender: Contender, given: Path, made: Path) -> dict[str, Any]:
    assert contender.program is not None and contender.keras is not None
    command = (contender.python, contender.program, contender.form, given, made, "1", "describe")
    described = run(command, made / "described.txt", variables(contender))
    facts: dict[str, Any] = {"described": described.error}
    if (made / "described.json").exists():
        facts |= json.loads((made / "described.json").read_text(encoding="utf-8"))
    code = ALONE.format(hidden=PACKAGES, file=str(made / contender.keras))
    facts["keras_alone"] = not run((sys.executable, "-c", code), made / "alone.txt").code
    return facts


def _run(network: str, contender: Contender, batch: int, into: dict[str, Any]) -> None:
    """How far the file is from onnxruntime on the exporter's, in a process of its own."""
    with start(network, contender, batch) as worker:
        if worker.failure:
            into["failures"][str(batch)] = worker.failure
        else:
            into["errors"][str(batch)] = worker.error


def size(file: Path) -> int:
    """Bytes of a file with the weights beside it, or of a folder."""
    if file.is_dir():
        return sum(each.stat().st_size for each in file.rglob("*") if each.is_file())
    weights = {".xml": file.with_suffix(".bin"), ".py": file.with_name("network.pnnx.bin")}
    with_them = [file, weights[file.suffix]] if file.suffix in weights else [file]
    return sum(each.stat().st_size for each in with_them)


def told(result: dict[str, Any]) -> str:
    """A result in a few words."""
    if result.get("error"):
        return str(result["error"])
    errors = [f"{each:.1e}" for each in result["errors"].values()]
    seconds = f"{result['cpu_seconds']:.0f} s, " if "cpu_seconds" in result else ""
    return seconds + ", ".join(["errors " + " ".join(errors), *result["failures"].values()])
