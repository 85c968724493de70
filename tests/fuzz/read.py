"""Coverage-guided fuzzing of read and rewrite: `python -m tests.fuzz.read --runs 200000 OUT`.

Needs `pip install atheris`; `tests/fuzz/test_mutations.py` does a little of it without. Small
pieces of real exports are mutated by `tests/fuzz/mutate.py`. Anything but an answer or an
Onnx2mvitError is a finding; so are more than five seconds of processor time, and more than a
gigabyte beside what is loaded anyway. The fuzzer goes on after a finding, and after one that ends
its process. OUT/findings has an input and a trace of each, and the last line says how many
executions there were.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import random
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.mutate import mutated

SECONDS, HANGS, BYTES = 5.0, 60.0, 1 << 30  # of processor time, and of memory
OF_EACH = 3  # inputs that are kept of one finding
LONGEST = 400_000  # bytes of an input


def fuzz(out: Path, arguments: list[str]) -> None:
    """Runs in a process of its own until it has done its runs, or a finding ends it."""
    import atheris

    with atheris.instrument_imports(include=["onnx2mvit"]):
        from onnx2mvit.emitter.emit import unformatted
        from onnx2mvit.errors import Onnx2mvitError
        from onnx2mvit.lifter import lift
        from onnx2mvit.lowering import lower
        from onnx2mvit.reader import read

    others = [path.read_bytes() for path in sorted((out / "seeds").iterdir())]
    with (out / "count").open("r+b") as file:
        count = mmap.mmap(file.fileno(), 8)
    current = Path(os.environ.get("TMPDIR", "/dev/shm")) / f"fuzz-{os.getpid()}.onnx"

    def one(data: bytes) -> None:
        count[:8] = (int.from_bytes(count[:8], "little") + 1).to_bytes(8, "little")
        current.write_bytes(data)
        (out / "running").write_bytes(data)
        start = time.process_time()
        try:
            network = lower(lift(read(current)))
            if not network.refused:
                unformatted(network, "net", "test")
        except Onnx2mvitError as error:
            if len(str(error)) > 2000 or "\n" in str(error):
                keep(out, data, f"message of {len(str(error))} characters", repr(str(error)))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in where if "onnx2mvit" in frame.filename]
            place = f"{ours[-1].filename}:{ours[-1].lineno} {where[-1].name}"
            keep(out, data, f"{type(error).__name__} {place}", traceback.format_exc())
        if time.process_time() - start > SECONDS:
            keep(out, data, "slow", f"{time.process_time() - start:.1f} s")

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        made = mutated(data, rng, others) if rng.random() < 0.97 else None
        if made is None:
            return bytes(atheris.Mutate(data, longest))
        return made if len(made) <= longest else data[:longest]

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutator)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    atheris.Fuzz()


def keep(out: Path, data: bytes, key: str, detail: str) -> None:
    """Writes a finding down, the first few inputs of each."""
    folder = out / "findings" / hashlib.sha256(key.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    there = len(list(folder.glob("*.onnx")))
    if there < OF_EACH:
        (folder / f"{there}.onnx").write_bytes(data)
        (folder / f"{there}.txt").write_text(f"{key}\n\n{detail}", encoding="utf-8")


def watched(flags: list[str], out: Path) -> int:
    """Runs the fuzzer in a process, and ends it if one execution takes all too long."""
    child = [sys.executable, "-m", "tests.fuzz.read", "--child", str(out), *flags]
    with (out / "log.txt").open("ab") as log, subprocess.Popen(child, stdout=log, stderr=log) as it:
        count, since = b"", 0.0
        while it.poll() is None:
            time.sleep(0.5)
            used = processor_time(it.pid)
            if (now := (out / "count").read_bytes()) != count:
                count, since = now, used
            elif used - since > HANGS:
                it.kill()
        return it.returncode


def processor_time(pid: int) -> float:
    """Seconds that a process has had; a machine that does other things as well does not count."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    from tests.fuzz.seeds import seeds  # not in `fuzz`: what it imports would not be instrumented

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=3600, help="stop after so many, anyway")
    options = parser.parse_args()
    out: Path = options.out
    for name in ("seeds", "corpus", "findings"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (out / "seeds" / f"{number}.onnx").write_bytes(seed)
    (out / "count").write_bytes(bytes(8))
    (out / "running").write_bytes(b"")
    start, died = time.monotonic(), 0
    while True:
        done = int.from_bytes((out / "count").read_bytes(), "little")
        left = options.seconds - (time.monotonic() - start)
        if done >= options.runs or left < 1:
            break
        # libFuzzer's own timer kills the process: there is no handler for its signal in Python.
        flags = [
            f"-runs={options.runs - done}",
            f"-max_total_time={int(left)}",
            f"-timeout={1 << 20}",
        ]
        flags += [f"-max_len={LONGEST}", "-rss_limit_mb=4096", f"-artifact_prefix={out}/"]
        code = watched([*flags, str(out / "corpus"), str(out / "seeds")], out)
        if code:
            died += 1
            text = (out / "log.txt").read_text(errors="replace")[-4000:]
            keep(out, (out / "running").read_bytes(), f"ended with {code}, {died}", text)
    findings = len(list((out / "findings").iterdir()))
    print(f"{done} executions in {time.monotonic() - start:.0f} s, {died} ended their process")
    print(f"{findings} different findings, in {out / 'findings'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        fuzz(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
