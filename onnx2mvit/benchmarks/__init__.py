"""How fast a network is in each runtime, in turns on the same images.

In: a file and a converted folder. Out: times and ratios. Begin with `benchmark`.
"""

from onnx2mvit.benchmarks.benchmark import Benchmark, benchmark
from onnx2mvit.benchmarks.machine import BUSY

__all__ = [
    "BUSY",
    "Benchmark",
    "benchmark",
]
