"""Feature pyramid networks (arXiv:1612.03144): coarse maps are added to finer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, any_of, optional, p, require

from .conv import STYLE, PointwiseConv, conv_bn_act
from .upsampling import resize_like

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


class TopDown(Pattern):
    """(B, C, H, W), (B, d, h, w) → (B, d, H, W): a 1×1 of a map, and the next coarser one on it.

    arXiv:1612.03144, section 3 and figure 3. The coarser map is enlarged by the nearest pixel, as
    torch does it: that at ⌊i · h / H⌋; or by bilinear interpolation.
    """

    keras = "top_down"
    main = "lateral"
    before = ("BilinearUpsampling", "ResizeToInput", "FillPatches")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own = {"filters": p.filters, "activation": None, **STYLE}
        lateral = PointwiseConv(x, role="lateral", **own)
        sizes = (optional("roi"), optional("scales"), optional("sizes"))
        coarse = Var("coarse")
        enlarged = any_of(
            op.Resize(coarse, *sizes, role="enlarged", mode="nearest"),
            op.Resize(coarse, role="between", mode="linear"),
        )
        return op.Add(lateral, enlarged)

    def operands(self, m: Match) -> tuple[Any, ...]:
        return m.x, m.coarse

    def params(self, m: Match) -> dict[str, Any]:
        bilinear = m.between is not None
        before, after = m.shape("coarse", 4), m.shape("between" if bilinear else "enlarged", 4)
        require(after == m.lateral.output.shape, "it is enlarged to another size than the map's")
        require(after[:2] == before[:2], "it is enlarged over channels")
        if bilinear:
            return {"bilinear": True}
        how = m.enlarged.attrs
        pixels = how.get("coordinate_transformation_mode"), how.get("nearest_mode")
        require(pixels == ("asymmetric", "floor"), f"it takes other pixels than torch: {pixels}")
        return {}


def top_down(
    x: KerasTensor,
    coarse: KerasTensor,
    filters: int,
    bilinear: bool = False,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A 1×1 convolution of a map, and the coarser one on it, enlarged to the size of the map."""
    x = conv_bn_act(x, filters, 1, activation=None, name=name, **conv)
    large = resize_like(coarse, x, name=f"{name}_resize") if bilinear else enlarged(coarse, x)
    return layers.Add(name=f"{name}_add")([x, large])


def enlarged(x: KerasTensor, image: KerasTensor) -> KerasTensor:
    """A map (B, h, w, C) as large as an image (B, H, W, …): the pixel at ⌊i · h / H⌋."""
    for axis in (1, 2):
        old, new = x.shape[axis], image.shape[axis]
        if old != new:
            x = ops.take(x, np.arange(new) * old // new, axis=axis)
    return x


def enlarged_any_size() -> None:
    """For images of any size: what takes the place of `enlarged`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class Enlarged(layers.Layer):
        """A map (B, h, w, C) as large as an image (B, H, W, …): the pixel at ⌊i · h / H⌋."""

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            for axis in (1, 2):
                old, new = ops.shape(x)[axis], ops.shape(image)[axis]
                x = ops.take(x, ops.arange(new) * old // new, axis=axis)
            return x

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            x, image = shapes
            return (*image[:-1], x[-1])

    def enlarged(x: KerasTensor, image: KerasTensor) -> KerasTensor:
        """A map (B, h, w, C) as large as an image (B, H, W, …): the pixel at ⌊i · h / H⌋."""
        return Enlarged()([x, image])
