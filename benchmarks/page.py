"""docs/peers.md, from docs/peers.json alone: `python -m benchmarks page`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks import picture, record
from benchmarks.peers import OURS, REFERENCE
from benchmarks.places import PAGE, PICTURE
from benchmarks.record import Record
from onnx2mvit.benchmarks import BUSY

NONE = "–"
WRONG = 1e-3  # of the largest value: such an answer is another network's
CLEARLY = 0.9  # of our seconds and memory: less than that is ahead
INTRODUCTION = """\
# Beside its peers

Written by `make peers` from [peers.json](peers.json), measured on {date} on {processors} processors
({processor}, {memory_gb} GB). `make peers NETWORKS=mobilevit_xs PEERS="onnx2tf litert-torch"`
measures a part of it.

Each network has seeded random weights. All are given what torch's exporter wrote, with batch
normalization folded, but litert-torch, nobuco and keras-hub, which read torch, the module or its
weights. The batch is fixed for onnx2tf and pnnx, which take no free one, and in the files of LiteRT
and OpenVINO, which are faster so. Every conversion and every runtime has a process of its own.

* **CPU s**, **peak MB**: processor time and memory of the whole process of a conversion, ours with
  its proof at the border of every block.
* **error**: the largest one against onnxruntime, as a share of the largest answer.
* **batch 1**, **batch 8**: the time of a call with two threads against onnxruntime's on the
  exporter's file, median of the rounds and their range. Below 1 is faster. Runtimes take turns, in
  blocks of 3 + 15 calls, 1 + 5 at batch 8. **images/s** is at batch 8.
  Keras models run as what Keras's own `export` writes of them, in one call of TensorFlow; the
  SavedModel of ours is that of `deploy`.
* **layers, opaque**: what a Keras model has, and which part of that is no stock layer: operations,
  `Lambda`, classes of the peer.
* **trains**: the share of the parameters that `model.trainable_weights` has.
* **Keras alone**: whether `keras.models.load_model` takes the file where only Keras is installed.
* **other sizes**: whether the result answers as torch does on images 64 pixels higher and wider.

![Times of a call against onnxruntime, by network](peers.svg)
"""
OTHERWISE = """\
What is not measured: onnx2tf converts 192 operators and writes int8 and PyTorch as well;
litert-torch and pnnx take any module of torch. keras-hub has presets with published weights, tasks
and tokenizers. pnnx and onnx2tf's own writer need neither TensorFlow nor Keras. ZeroModels 1.3.6
has MobileViT in Keras with published weights, as layers of its own.
"""
COLUMNS = ("", "CPU s", "peak MB", "file MB", "error", "batch 1", "batch 8", "images/s",
           "layers, opaque", "trains", "Keras alone", "other sizes")  # fmt: skip
YES = {True: "yes", False: "no", None: NONE}


def write() -> None:
    """The page and its picture."""
    known = record.read()
    PAGE.write_text(text(known), encoding="utf-8")
    PICTURE.write_text(picture.svg(known), encoding="utf-8")


def text(known: Record) -> str:
    """The page that says what a record has."""
    parts = [
        INTRODUCTION.format(date=known["date"], **known["machine"]),
        "## Where a peer is ahead\n", *ahead(known), OTHERWISE,
        *(part for network in known["networks"].values() for part in chapter(network)),
        "## Versions\n", *versions(known),
    ]  # fmt: skip
    return "\n".join(parts)


def name(row: Record) -> str:
    """What a row is called."""
    if row["peer"] == REFERENCE:
        return f"{REFERENCE}, exporter's file"
    if row["peer"] in ("openvino", "torch"):
        return f"{row['peer']}, exporter's {'module' if row['form'] == 'torch' else 'file'}"
    return f"**{OURS}, {row['form']}**" if row["peer"] == OURS else f"{row['peer']}, {row['form']}"


def chapter(network: Record) -> Iterator[str]:
    """A network: its table, and what failed."""
    height, width = network["size"]
    yield f"## {network['title']}\n"
    yield (
        f"{height}×{width}, {network['parameters']:,} parameters, {network['nodes']} nodes. "
        f"{loads(network)}\n"
    )
    yield line(COLUMNS)
    yield line(["---", *["--:"] * 9, "---", "---"])
    yield from (line(cells(row, network)) for row in network["rows"])
    yield ""
    yield from (
        f"* {name(row)}: {what}{quoted(said)}"
        for row in network["rows"]
        for what, said in failures(row)
    )
    yield ""


def quoted(said: str) -> str:
    """Words of a peer as code, in which nothing is Markdown."""
    return "`" + said.replace("`", "'") + "`"


def line(cells: Iterable[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def loads(network: Record) -> str:
    """What the machine did beside it."""
    if not network["load"]:
        return "Not timed yet."
    shares = ", ".join(
        f"{load['others']:.0%} at batch {batch}" for batch, load in network["load"].items()
    )
    busy = max(load["others"] for load in network["load"].values()) > BUSY
    warning = " **The machine was busy: ratios say little.**" if busy else ""
    return f"Others took of the processors while it was timed: {shares}.{warning}"


def cells(row: Record, network: Record) -> list[str]:
    """One row of a network's table."""
    first = [name(row)]
    if row.get("error"):
        return [*first, "fails", *[NONE] * (len(COLUMNS) - 2)]
    timed, share = row["timed_seconds"], row.get("trainable")
    return [
        *first,
        number(row.get("cpu_seconds")),
        number(row.get("memory_mb")),
        f"{row['size_mb']:.1f}",
        error(row),
        ratio(row, "1"),
        ratio(row, "8"),
        number(8 / timed["8"] if "8" in timed else None),
        f"{row['layers']}, {row['opaque'] / row['layers']:.0%}" if row.get("layers") else NONE,
        NONE if share is None else f"{share / network['parameters']:.1%}",
        YES[row.get("keras_alone")],
        YES[row.get("other_sizes")],
    ]


def number(value: float | None) -> str:
    """A number without decimals, where there is one."""
    return NONE if value is None else f"{value:.0f}"


def error(row: Record) -> str:
    """The largest error of a row; a wrong answer is said to be one."""
    if row["peer"] == REFERENCE or not row["errors"]:
        return NONE
    largest = max(row["errors"].values())
    return f"{largest:.0e}" if largest <= WRONG else f"**wrong**, {largest:.0e}"


def ratio(row: Record, batch: str) -> str:
    """Time against onnxruntime's, with the range of the rounds."""
    if batch not in row["timed_ratios"]:
        return NONE
    middle, least, greatest = row["timed_ratios"][batch]
    return "1" if row["peer"] == REFERENCE else f"{middle:.2f} ({least:.2f}–{greatest:.2f})"


def failures(row: Record) -> Iterator[tuple[str, str]]:
    """What did not go well: with what, and in the words of the peer."""
    if row.get("error"):
        yield "", row["error"]
    if row.get("described"):
        yield "its model cannot be loaded again: ", row["described"]
    for batch, said in row["failures"].items():
        yield f"batch {batch}: ", said


def ahead(known: Record) -> Iterator[str]:
    """A line for each measure in which a peer is better than ours of the same form."""
    found: dict[str, list[str]] = {}
    for network in known["networks"].values():
        ours = {row["form"]: row for row in network["rows"] if row["peer"] == OURS}
        for row in network["rows"]:
            mine = ours.get(row["form"])
            if mine is None or row is mine or row.get("error") or mine.get("error"):
                continue
            right = row["errors"] and max(row["errors"].values()) <= WRONG
            for measure, theirs, own in better(row, mine) if right else ():
                said = f"{network['title']} {theirs} (ours {own})"
                found.setdefault(f"{name(row)}, {measure}", []).append(said)
    if not found:
        yield "Nowhere, as far as it was measured.\n"
        return
    yield "By more than the rounds differ; for conversions, by more than a tenth.\n"
    yield from (f"* **{where}**: {', '.join(said)}" for where, said in found.items())
    yield ""


def better(row: Record, mine: Record) -> Iterator[tuple[str, str, str]]:
    """The measures in which a row is before ours, with both values."""
    for batch, (middle, _, greatest) in row["timed_ratios"].items():
        if batch in mine["timed_ratios"] and greatest < mine["timed_ratios"][batch][1]:
            yield f"batch {batch}", f"{middle:.2f}", f"{mine['timed_ratios'][batch][0]:.2f}"
    for key, measure, unit in (
        ("cpu_seconds", "conversion", "s"),
        ("memory_mb", "memory of a conversion", "MB"),
        ("size_mb", "size of the file", "MB"),
    ):
        if key in row and key in mine and row[key] < CLEARLY * mine[key]:
            shown = ".1f" if key == "size_mb" else ".0f"
            yield measure, f"{row[key]:{shown}} {unit}", f"{mine[key]:{shown}} {unit}"


def versions(known: Record) -> Iterator[str]:
    """What took part."""
    ran = ", ".join(f"{package} {number}" for package, number in known["versions"].items())
    yield f"What runs the files, in one environment: {ran}.\n"
    for environment, packages in known["environments"].items():
        yield f"* environment `{environment}`: {', '.join(f'`{each}`' for each in packages)}"
    yield ""
