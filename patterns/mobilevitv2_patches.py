"""MobileViTv2's way from an image to patches and back (arXiv:2206.02680, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.matcher import (
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    maybe,
    p,
    require,
)

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


SQUARE = p.patch_size.where(lambda size: size > 1)
PATCHES: dict[str, Any] = {"p": SQUARE, "q": SQUARE, "r": p._rows, "c": p._columns}


class FillPatches(Pattern):
    """Bilinear, corners on corners (PyTorch's align_corners=True), by less than the image again.

    The patch is not to be seen here; the block around it knows its size.
    """

    keras = "fill_patches"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Resize(x, role="stretch", mode="align_corners")

    def params(self, m: Match) -> dict[str, Any]:
        before, after = m.shape("x", 4)[2:], m.shape("stretch", 4)[2:]
        grown = all(0 <= new - old <= old for old, new in zip(before, after, strict=True))
        require(grown, f"it makes {after} of {before}, more than patches need")
        return {}


def fill_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""
    for axis, along in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
        size = x.shape[axis]
        whole = -(-size // patch_size) * patch_size
        if whole != size:
            places = np.linspace(0, size - 1, whole, dtype="float32")
            distances = np.abs(places[:, None] - np.arange(size, dtype="float32"))
            x = ops.einsum(along, x, np.maximum(1 - distances, 0))
    return x


def fill_patches_any_size() -> None:
    """For images of any size: what takes the place of `fill_patches`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class FillPatches(layers.Layer):
        """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""

        def __init__(self, patch_size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.patch_size = patch_size

        def call(self, x: KerasTensor) -> KerasTensor:
            for axis, along in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
                size = ops.shape(x)[axis]
                whole = -(-size // self.patch_size) * self.patch_size
                # Where patches fill the image, this changes nothing.
                step = ops.cast(size - 1, "float32") / ops.cast(whole - 1, "float32")
                places = ops.arange(whole, dtype="float32") * step
                distances = ops.abs(places[:, None] - ops.arange(size, dtype="float32"))
                x = ops.einsum(along, x, ops.relu(1 - distances))
            return x

        def compute_output_shape(self, shape: Shape) -> Shape:
            return (shape[0], None, None, shape[-1])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "patch_size": self.patch_size}

    def fill_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
        """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""
        return FillPatches(patch_size, name="stretch")(x)


class UnfoldPatches(Pattern):
    """(B, d, H, W) → (B, d, P, N) with P pixels a patch and N patches (arXiv:2206.02680, 3.1).

    The pixels of a patch come row by row, and so do the patches. It is torch.nn.functional.unfold
    with a stride of one patch, which leaves out what is beyond the last whole patch.
    """

    keras = "unfold_patches"
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        whole = maybe(op.Slice(x, axis=2, start=0))
        whole = maybe(op.Slice(whole, axis=3, start=0))
        return op.Rearrange("b d (r p) (c q) -> b d (p q) (r c)", whole, **PATCHES)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        there = (height // m.patch_size, width // m.patch_size)
        require((m._rows, m._columns) == there, "it leaves out whole patches")
        return {}


def unfold_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""
    _, height, width, dim = x.shape
    rows, columns = height // patch_size, width // patch_size
    if (height % patch_size, width % patch_size) != (0, 0):
        x = x[:, : rows * patch_size, : columns * patch_size]
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, patch_size**2, rows * columns, dim))


def unfold_patches_any_size() -> None:
    """For images of any size: what takes the place of `unfold_patches`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class UnfoldPatches(layers.Layer):
        """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""

        def __init__(self, patch_size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.patch_size = patch_size

        def call(self, x: KerasTensor) -> KerasTensor:
            p = self.patch_size
            _, height, width, dim = ops.shape(x)
            rows, columns = height // p, width // p
            x = x[:, : rows * p, : columns * p]
            x = ops.reshape(x, (-1, rows, p, columns, p, dim))
            x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
            return ops.reshape(x, (-1, p**2, rows * columns, dim))

        def compute_output_shape(self, shape: Shape) -> Shape:
            return (shape[0], self.patch_size**2, None, shape[-1])

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "patch_size": self.patch_size}

    def unfold_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
        """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""
        return UnfoldPatches(patch_size, name="unfold")(x)


class FoldPatches(Pattern):
    """(B, d, P, N) → (B, d, H, W), the inverse of UnfoldPatches (arXiv:2206.02680, 3.1).

    ONNX Col2Im (operator version 18) leaves zeros where there is no patch; where it is made of
    Reshape and Transpose, there is none such place.
    """

    keras = "fold_patches"
    before = ("PixelShuffle",)
    inner = True

    def onnx(self, op: Ops, x: Var) -> Expr:
        folded = op.Rearrange("b d (p q) (r c) -> b d (r p) (c q)", x, **PATCHES)
        col2im = op.Col2Im(
            op.Rearrange("b d s n -> b (d s) n", x),
            constant("size", rank=1),
            constant("patch", rank=1),
            role="col2im",
            pads=lambda pads: not any(pads or ()),
            dilations=lambda dilations: set(dilations or (1,)) == {1},
        )
        return any_of(folded, col2im)

    def params(self, m: Match) -> dict[str, Any]:
        if m.col2im is None:
            return {"zeros": False}
        *_, pixels, patches = m.shape("x", 4)
        *_, height, width = m.shape("col2im", 4)
        patch, patch_width = m.patch.const.tolist()
        strides = tuple(m.col2im.attrs.get("strides") or (1, 1))
        require(strides == (patch, patch_width), f"patches of {patch} step {strides}")
        require(patch == patch_width, f"a patch is {patch}×{patch_width}, not square")
        fitting = (patch**2, (height // patch) * (width // patch))
        require((pixels, patches) == fitting, "the pixels of a patch are ordered otherwise")
        return {"patch_size": patch, "zeros": True}


def fold_patches(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold_patches."""
    _, height, width, dim = image.shape
    rows, columns = height // patch_size, width // patch_size
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, dim))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = ops.reshape(x, (-1, rows * patch_size, columns * patch_size, dim))
    rest = (height % patch_size, width % patch_size)
    if rest != (0, 0):
        x = ops.pad(x, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0)))
    return x


def fold_patches_any_size() -> None:
    """For images of any size: what takes the place of `fold_patches`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class FoldPatches(layers.Layer):
        """(B, P, N, d) → (B, H, W, d) with the size of an image: the inverse of UnfoldPatches."""

        def __init__(self, patch_size: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.patch_size = patch_size

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, image = inputs
            p = self.patch_size
            _, height, width, dim = ops.shape(image)
            rows, columns = height // p, width // p
            x = ops.reshape(x, (-1, p, p, rows, columns, dim))
            x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
            x = ops.reshape(x, (-1, rows * p, columns * p, dim))
            return ops.pad(x, ((0, 0), (0, height % p), (0, width % p), (0, 0)))

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            return shapes[1]

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "patch_size": self.patch_size}

    def fold_patches(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
        """(B, P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold_patches."""
        return FoldPatches(patch_size, name="fold")([x, image])
