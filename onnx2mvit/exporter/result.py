"""What an export reports."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportResult:
    """A file that was written, and how well it answers as torch does.

    `weights` says where they come from, as the file's metadata do; `max_abs_error` is the largest
    difference between onnxruntime's and torch's logits, the largest of which is `max_abs_logit`;
    `parameters` are the trainable numbers of the model.
    """

    path: Path
    nodes: int
    opset: int
    weights: str
    max_abs_error: float
    max_abs_logit: float
    parameters: int
    seconds: float
