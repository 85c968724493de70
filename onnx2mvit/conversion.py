"""The result of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.exporter import ExportResult
from onnx2mvit.ir.block import Block
from onnx2mvit.reports import render_in_notebook
from onnx2mvit.reports.wording import swapped

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, repr=False)
class Conversion:
    """What `convert` made: the model, where it came from, and the proof.

    Attributes:
        model: with the weights of the file; images are (batch, height, width, channels) float32.
        blocks: what stands at the top, in the order in which it is computed.
        folder: what was written lies here.
        source: the module in it.
        report: what report.json holds.
        exported: what was known of the ONNX file where that was exported first.
    """

    model: keras.Model
    blocks: tuple[Block, ...]
    folder: Path
    source: Path
    report: dict[str, Any]
    exported: ExportResult | None = None

    def __repr__(self) -> str:
        """The verdict, what was recognised, and where it lies: three lines."""
        report, proof = self.report, self.report["verification"]
        said = "not compared with onnxruntime"
        if proof is not None:
            said = f"{proof['verdict']}, off by {proof['max_rel_error']:.1e} of the largest value"
        if report["hard_activations"]:
            said += ", with SiLU; this one has hard swish in its place"
        coverage, model = report["coverage"], report["model"]
        return (
            f"{model['name']} from {report['onnx']['file']}: {said}\n"
            f"{coverage['in_blocks']} of {coverage['nodes']} nodes in blocks, "
            f"{model['parameters']:,} parameters\n"
            f"{self.folder}/: {self.source.name}, report.html"
        )

    def _repr_html_(self) -> str:
        return render_in_notebook(self.report, self.folder.as_posix(), self.warnings)

    @property
    def passed(self) -> bool | None:
        """Whether the numbers agree; None if that was not asked for."""
        verification = self.report["verification"]
        return verification["verdict"] == "passed" if verification else None

    @property
    def warnings(self) -> list[str]:
        """What a user should know although the conversion succeeded."""
        found = []
        if swap := self.report["hard_activations"]:
            found.append(swapped(swap))
        elsewhere = self.report["sizes"]["file_elsewhere"]
        if elsewhere is not None and elsewhere["onnxruntime"] != "agrees":
            height, width = elsewhere["size"]
            found.append(
                f"the ONNX file declares that it takes other sizes, but at {height}×{width} "
                f"onnxruntime {elsewhere['onnxruntime']}; the model goes by the rule of its blocks "
                "there"
            )
        sizes, made = self.report["sizes"], self.report["model"]["input_shape"][1:3]
        if sizes["traced"] != made:
            found += [
                f"{name} counts {', '.join(map(str, places))} from a border of the image at every "
                "size, as the file does: if that is a share of the height or the width, export the "
                "network at the size that you need"
                for name, places in sizes["counted"].items()
            ]
            found += [
                f"{name} makes a map of the size of the image, which the file has as a number: if "
                f"that means {factor} times the map, the two differ at sides that are no multiple "
                f"of {factor}"
                for name, factor in sizes["size_or_factor"].items()
                if any(side is None or side % factor for side in made)
            ]
        if self.report["onnx"]["dynamic_size"] and self.report["sizes"]["traced"] is None:
            shapes = ", ".join(f"{each['name']} {each['shape']}" for each in self.report["inputs"])
            found.append(f"the ONNX file leaves lengths open; the model takes these: {shapes}")
        return found
