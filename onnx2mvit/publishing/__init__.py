"""A converted network for others: a folder with a model card, on this machine or on a model hub.

In: what `convert` wrote. Out: the folder, or the address at which it lies. Begin with `publish`.
"""

from onnx2mvit.publishing.destination import FRAMEWORKS
from onnx2mvit.publishing.publish import Publication, publish

__all__ = ["FRAMEWORKS", "Publication", "publish"]
