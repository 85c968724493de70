"""Networks, conversions and proofs for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from onnx2mvit.cli.console import Row, show_rows
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.network import Network
from onnx2mvit.reader.cut import advice
from onnx2mvit.reports import batch_normalization, leftovers
from onnx2mvit.reports.wording import (
    FIXED_BATCH,
    NOTES,
    matched_boxes,
    pixels,
    shown_params,
    tensor,
)

if TYPE_CHECKING:
    from onnx2mvit.conversion import Conversion
    from onnx2mvit.exporter import ExportResult

SHOWN_LEFTOVERS = 20


def show_network(console: Console, network: Network, depth: int = 0) -> None:
    """The tree of blocks, then how much was recognised, then what no pattern took."""
    source, coverage = network.graph.source, network.coverage
    told = f"  opset {source.opset}, {source.producer}, weights: {source.weights}"
    told += f", cut at {', '.join(source.outputs)}" if source.outputs else ""
    root = Tree(Text.assemble((source.file, "bold"), told))
    for block in network.blocks:
        _add(root, block, "", depth)
    console.print(root)
    unknown = leftovers(network)
    lines = [
        f"{source.nodes} nodes, {coverage.nodes} after simplification, "
        f"{coverage.in_blocks} in blocks ({coverage.percent:.1f} %), "
        f"{coverage.single_ops} single operators, {coverage.unsupported} not supported; "
        f"batch normalization {batch_normalization(network.blocks)}"
    ]
    for entry in unknown[:SHOWN_LEFTOVERS]:
        closest = f" (closest: {entry['closest']})" if entry["closest"] else ""
        lines.append(f"  {entry['op']} in {entry['module'] or '?'}: {entry['why']}{closest}")
    if len(unknown) > SHOWN_LEFTOVERS:
        lines.append(f"  … and {len(unknown) - SHOWN_LEFTOVERS} more (--json lists them all)")
    if unknown:
        lines.append(advice(network.cut_points).strip())
    for line in filter(None, lines):
        console.print(line, soft_wrap=True)


def _add(parent: Tree, block: Block, outer: str, depth: int) -> None:
    name = block.name.removeprefix(outer + ".") if outer else block.name
    parts = [
        (block.kind, "cyan"),
        (name, "bold"),
        (shown_params(block.params, block.pattern.usual()), "dim"),
    ]
    line = Text(" ").join(Text(text, style) for text, style in parts if text)
    line.append(f"  [{block.nodes}]")
    branch = parent.add(line)
    if depth != 1:
        for child in block.children:
            _add(branch, child, block.name, depth - 1)


def show_verification(console: Console, verification: dict[str, Any]) -> None:
    """The verdict, what it rests on, and the block that is farthest off."""
    show_rows(console, _proof(verification))


def _proof(verification: dict[str, Any]) -> list[Row]:
    colour = "green" if verification["verdict"] == "passed" else "red"
    blocks, agreement = verification["blocks"], verification["top1_agreement"]
    fixed = f", {FIXED_BATCH.format(verification['batch'])}" if verification["batch"] else ""
    rows: list[Row] = [
        ("verdict", Text.assemble((verification["verdict"], f"bold {colour}"), (fixed, "yellow"))),
        ("inputs", verification["images"]),
        (
            "output",
            f"off by {verification['max_rel_error']:.2e} of the largest value "
            f"(allowed {verification['tolerance']:.0e}; "
            f"onnxruntime is off itself by {verification['noise_floor']:.2e}); "
            f"absolute {verification['max_abs_error']:.2e}",
        ),
    ]
    if blocks:
        worst = max(blocks, key=lambda block: float(block["max_rel_error"]))
        far = f"{worst['name']} ({worst['kind']}) by {worst['max_rel_error']:.2e} of its largest"
        rows.append(("blocks", f"{len(blocks)} borders compared, the farthest off is {far}"))
    rows += [("note", note) for note in verification["notes"]]
    if judged := verification["float64"]:
        rows.append(("float64", judged["words"]))
    if agreement is not None:
        rows.append(("top-1", f"{agreement:.1%} agree"))
    if (shared := verification["mean_iou"]) is not None:
        rows.append(("masks", f"mean IoU {shared:.4f} with onnxruntime's"))
    if (boxes := verification["boxes"]) is not None:
        rows.append(("boxes", matched_boxes(boxes, "of onnxruntime's", "of Keras's")))
    rewrite = verification["rewrite"]
    if rewrite["max_rel_error"] is not None:
        off = f"{rewrite['max_rel_error']:.2e} of the largest value"
        said = f"the blocks as ONNX functions are off the file by {off}"
    else:
        said = f"not run as ONNX functions: {rewrite['why']}"
    rows.append(("rewrite", said))
    if begins := verification["begins"]:
        rows.append(("begins", f"in {_where(begins)}, on onnxruntime's own tensors"))
    return rows


def _where(begins: dict[str, Any]) -> str:
    """The first layer that differs and the block around it."""
    around = f", in {begins['block_kind']} {begins['block']}"
    inside = around if begins["block"] != begins["layer"] else ""
    if begins["shape"] != begins["expected_shape"]:
        how = f"shape {begins['shape']} for {begins['expected_shape']}"
    else:
        how = f"by {begins['max_rel_error']:.2e} of its largest"
    return f"{begins['kind']} {begins['layer']}{inside}: {how}"


def exported_lines(result: ExportResult) -> tuple[str, str]:
    """The file that was exported, and how well it answers as torch does."""
    return (
        f"{result.path}: {result.nodes} nodes, opset {result.opset}, "
        f"{result.parameters:,} parameters, weights: {result.weights}",
        f"onnxruntime is off torch by {result.max_abs_error / (result.max_abs_logit or 1):.1e} "
        "of the largest logit",
    )


def show_conversion(console: Console, conversion: Conversion) -> None:
    """What was written, what the model is, the verdict, and how long each stage took."""
    report, folder = conversion.report, conversion.folder
    files = (f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in sorted(folder.iterdir()))
    rows: list[Row] = []
    if conversion.exported is not None:
        rows += [("exported", line) for line in exported_lines(conversion.exported)]
    rows += [("folder", Text(f"{folder}/", "bold")), ("files", ", ".join(files))]
    rows += _made(report)
    if report["verification"] is None:
        rows.append(("verdict", Text("not verified (--no-verify)", "yellow")))
    else:
        rows += _proof(report["verification"])
        if report["sizes"]["proven"]:
            size = "×".join(map(str, report["sizes"]["traced"]))
            rows.append(("sizes", f"proven at {size}; other sizes: {report['sizes']['by_rule']}"))
    stages = ", ".join(f"{name} {taken:.1f}" for name, taken in report["seconds"].items())
    rows.append(("seconds", f"{sum(report['seconds'].values()):.1f}: {stages}"))
    rows.append(("look at", f"{folder}/report.html"))
    show_rows(console, rows)


def _made(report: dict[str, Any]) -> list[Row]:
    model, coverage = report["model"], report["coverage"]
    size = f"{model['parameters']:,} parameters ({model['trainable_parameters']:,} trainable)"
    covered = (
        f"{coverage['in_blocks']} of {coverage['nodes']} nodes in blocks, "
        f"{coverage['single_ops']} single operators, "
        f"batch normalization {report['batch_normalization']}"
    )
    rows: list[Row] = [("model", f"{size}, weights: {report['onnx']['weights']}")]
    for verb, tensors in (("takes", report["inputs"]), ("gives", report["outputs"])):
        rows += [(verb, f"{each['name']} {tensor(each)}") for each in tensors]
    if report["preprocessing"] is not None:
        style = "" if report["preprocessing"]["origin"] else "yellow"
        rows.append(("pixels", Text(pixels(report["preprocessing"]), style)))
    rows.append(("coverage", covered))
    if note := NOTES.get(report["batch_normalization"]):
        rows.append(("note", Text(note, "yellow")))
    return rows
