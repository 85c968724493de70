"""Functions for images of any size, put in the place of the others by `--image-size any`.

Sizes are only known when the layers are called, which a functional graph cannot express. This
file is never imported: what it defines is copied into emitted modules, as it stands here.
"""

import keras
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable("onnx2mvit")
class Unfold(layers.Layer):
    """(B, H, W, d) → (B·P, N, d), for any height and width."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, x):
        p = self.patch_size
        _, height, width, dim = ops.shape(x)
        rows, columns = -(-height // p), -(-width // p)
        # Patches must fill the image; where they do, this changes nothing.
        x = ops.image.resize(x, (rows * p, columns * p), interpolation="bilinear")
        x = ops.reshape(x, (-1, rows, p, columns, p, dim))
        x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
        return ops.reshape(x, (-1, rows * columns, dim))

    def compute_output_shape(self, shape):
        return (None, None, shape[-1])

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("onnx2mvit")
class Fold(layers.Layer):
    """(B·P, N, d) → (B, H, W, d) with the size of an image: the inverse of Unfold."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, inputs):
        x, image = inputs
        p, dim = self.patch_size, x.shape[-1]
        _, height, width, _ = ops.shape(image)
        rows, columns = -(-height // p), -(-width // p)
        x = ops.reshape(x, (-1, p, p, rows, columns, dim))
        x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
        x = ops.reshape(x, (-1, rows * p, columns * p, dim))
        return ops.image.resize(x, (height, width), interpolation="bilinear")

    def compute_output_shape(self, shapes):
        tokens, image = shapes
        return (*image[:-1], tokens[-1])

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("onnx2mvit")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector to every token (B, n + N, d) of an image (B, H, W, C).

    Those of patches, for a `grid` of them, are resampled to the image: bicubic, a = -0.75.
    """

    def __init__(self, num_positions, grid, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.num_positions, self.grid, self.patch_size = num_positions, tuple(grid), patch_size

    def build(self, shapes):
        tokens, _ = shapes
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.num_positions, tokens[-1]), initializer="uniform"
        )

    def call(self, inputs):
        x, image = inputs
        dim, rest = x.shape[-1], self.num_positions - self.grid[0] * self.grid[1]
        _, height, width, _ = ops.shape(image)
        special, patches = self.embeddings[:rest], self.embeddings[rest:]
        patches = ops.reshape(patches, (*self.grid, dim))
        for old, length in zip(self.grid[::-1], (width, height), strict=True):
            new = length // self.patch_size
            scale = old / ops.cast(new, "float32")
            places = (ops.arange(new, dtype="float32") + 0.5) * scale - 0.5
            neighbours = ops.arange(-2, old + 2)
            d = ops.abs(places[:, None] - ops.cast(neighbours, "float32"))
            near = (1.25 * d - 2.25) * d * d + 1
            far = ((3.75 - 0.75 * d) * d - 6) * d + 3
            weights = ops.where(d < 1, near, ops.where(d < 2, far, 0.0))
            patches = ops.take(patches, ops.clip(neighbours, 0, old - 1), axis=1)
            patches = ops.swapaxes(ops.matmul(weights, patches), 0, 1)
        table = ops.concatenate([special, ops.reshape(patches, (-1, dim))], axis=0)
        return x + ops.cast(table, x.dtype)

    def compute_output_shape(self, shapes):
        tokens, _ = shapes
        return tokens

    def get_config(self):
        names = ("num_positions", "grid", "patch_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def unfold(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B·P, N, d): one sequence for each of the P pixels of a patch."""
    return Unfold(patch_size, name="unfold")(x)


def fold(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B·P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold."""
    return Fold(patch_size, name="fold")([x, image])


@keras.saving.register_keras_serializable("onnx2mvit")
class FillPatches(layers.Layer):
    """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, x):
        for axis, along in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
            size = ops.shape(x)[axis]
            whole = -(-size // self.patch_size) * self.patch_size
            # Where patches fill the image, this changes nothing.
            step = ops.cast(size - 1, "float32") / ops.cast(whole - 1, "float32")
            places = ops.arange(whole, dtype="float32") * step
            distances = ops.abs(places[:, None] - ops.arange(size, dtype="float32"))
            x = ops.einsum(along, x, ops.relu(1 - distances))
        return x

    def compute_output_shape(self, shape):
        return (shape[0], None, None, shape[-1])

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("onnx2mvit")
class UnfoldPatches(layers.Layer):
    """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, x):
        p = self.patch_size
        _, height, width, dim = ops.shape(x)
        rows, columns = height // p, width // p
        x = x[:, : rows * p, : columns * p]
        x = ops.reshape(x, (-1, rows, p, columns, p, dim))
        x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
        return ops.reshape(x, (-1, p**2, rows * columns, dim))

    def compute_output_shape(self, shape):
        return (shape[0], self.patch_size**2, None, shape[-1])

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("onnx2mvit")
class FoldPatches(layers.Layer):
    """(B, P, N, d) → (B, H, W, d) with the size of an image: the inverse of UnfoldPatches."""

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, inputs):
        x, image = inputs
        p = self.patch_size
        _, height, width, dim = ops.shape(image)
        rows, columns = height // p, width // p
        x = ops.reshape(x, (-1, p, p, rows, columns, dim))
        x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
        x = ops.reshape(x, (-1, rows * p, columns * p, dim))
        return ops.pad(x, ((0, 0), (0, height % p), (0, width % p), (0, 0)))

    def compute_output_shape(self, shapes):
        return shapes[1]

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


def fill_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""
    return FillPatches(patch_size, name="stretch")(x)


def unfold_patches(x: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""
    return UnfoldPatches(patch_size, name="unfold")(x)


def fold_patches(x: KerasTensor, image: KerasTensor, patch_size: int) -> KerasTensor:
    """(B, P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold_patches."""
    return FoldPatches(patch_size, name="fold")([x, image])


def position_embedding(
    x: KerasTensor,
    num_positions: int,
    grid: tuple[int, int] | None = None,
    patch_size: int = 1,
    image: KerasTensor | None = None,
    *,
    name: str,
) -> KerasTensor:
    """Adds a learned vector to every token; those of patches are resampled to the image."""
    if grid is None:
        raise ValueError(f"{name} is for {num_positions} tokens alone")
    return PositionEmbedding(num_positions, grid, patch_size, name=name)([x, image])
