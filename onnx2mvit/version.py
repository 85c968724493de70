"""The version, once."""

from importlib.metadata import version

__version__ = version("onnx2mvit")
