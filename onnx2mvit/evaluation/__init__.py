"""How many photographs of known classes networks get right, in each form that they have.

In: files of one network, and a folder of images. Out: accuracies, agreement, and where they differ.
Begin with `evaluate`.
"""

from onnx2mvit.evaluation.engines import ENGINES
from onnx2mvit.evaluation.evaluate import Evaluation, evaluate

__all__ = ["ENGINES", "Evaluation", "evaluate"]
