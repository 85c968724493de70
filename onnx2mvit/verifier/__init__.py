"""Stage six, verify: the Keras model against onnxruntime, block by block and at its outputs.

In: the file, the network, the model. Out: `Verification`. Begin with `verify_model`.
"""

from onnx2mvit.verifier.deployed import Answers, judge_file
from onnx2mvit.verifier.judgement import Judgement
from onnx2mvit.verifier.mismatch import FOLDER, renew_repro, repro_folder, write_repro
from onnx2mvit.verifier.other_size import look_elsewhere
from onnx2mvit.verifier.proof import INPUTS, inspect_for, load_traced, prove, run_reference
from onnx2mvit.verifier.swap import look_at_swap
from onnx2mvit.verifier.verification import Verification

__all__ = [
    "FOLDER",
    "INPUTS",
    "Answers",
    "Judgement",
    "Verification",
    "inspect_for",
    "judge_file",
    "load_traced",
    "look_at_swap",
    "look_elsewhere",
    "prove",
    "renew_repro",
    "repro_folder",
    "run_reference",
    "write_repro",
]
