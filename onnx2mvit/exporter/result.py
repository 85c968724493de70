"""What an export reports."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportResult:
    """A file that was written, and how well it answers as torch does."""

    path: Path
    """The ONNX file."""
    nodes: int
    """Nodes of its graph."""
    opset: int
    """Its ONNX opset."""
    weights: str
    """Where its weights come from, as its metadata say too."""
    max_abs_error: float
    """Largest difference between onnxruntime's and torch's logits."""
    max_abs_logit: float
    """Largest logit of torch in that comparison."""
    parameters: int
    """Trainable numbers of the model."""
    seconds: float
    """Time that the export took."""
