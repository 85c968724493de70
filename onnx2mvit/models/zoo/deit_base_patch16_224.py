"""deit_base_patch16_224: facebook/deit-base-patch16-224, as onnx2mvit writes it (`make zoo`)."""

import json
import pathlib

import keras
import numpy as np
from keras import layers, ops


def image_to_tokens(x):
    """(B, H, W, d) → (B, H·W, d): a token for every place, row by row."""
    return layers.Reshape((-1, x.shape[-1]))(x)


def patch_embedding(x, dim, patch_size, use_bias=True, *, name):
    """(B, H, W, C) → (B, N, dim): a linear layer on the pixels of each patch."""
    x = layers.Conv2D(dim, patch_size, strides=patch_size, use_bias=use_bias, name=name)(x)
    return image_to_tokens(x)


def class_token(x, num_tokens=1, *, name):
    """Puts learned tokens before the others."""
    index = ops.zeros_like(x[:, :1, 0], dtype="int32") + np.arange(num_tokens, dtype="int32")
    tokens = layers.Embedding(num_tokens, x.shape[-1], name=name)(index)
    return layers.Concatenate(axis=1)([tokens, x])


def position_embedding(x, num_positions, grid=None, patch_size=1, image=None, *, name):
    """Adds a learned vector to every token.

    Those of patches are for a `grid` (rows, columns) of them. For an `image` that has another
    they are resampled as Hugging Face does with `interpolate_pos_encoding=True`: bicubic
    (a = -0.75), half-pixel centres, no antialiasing. Without a grid there is no other size.
    """
    dim = x.shape[-1]
    index = ops.zeros_like(x[:1, :1, 0], dtype="int32") + np.arange(num_positions, dtype="int32")
    table = layers.Embedding(num_positions, dim, name=name)(index)
    if grid:
        size = (image.shape[1] // patch_size, image.shape[2] // patch_size)
        if size != grid:
            special, patches = ops.split(table, [num_positions - grid[0] * grid[1]], axis=1)
            patches = ops.reshape(patches, (*grid, dim))
            for old, new in zip(grid[::-1], size[::-1], strict=True):
                places = (np.arange(new, dtype="float32") + 0.5) * (old / new) - 0.5
                neighbours = np.arange(-2, old + 2)
                d = np.abs(places[:, None] - neighbours.astype("float32"))
                near = (1.25 * d - 2.25) * d * d + 1
                far = ((3.75 - 0.75 * d) * d - 6) * d + 3
                weights = np.where(d < 1, near, np.where(d < 2, far, 0)).astype("float32")
                patches = ops.take(patches, np.clip(neighbours, 0, old - 1), axis=1)
                patches = ops.swapaxes(ops.matmul(weights, patches), 0, 1)
            table = ops.concatenate([special, ops.reshape(patches, (1, -1, dim))], axis=1)
    if table.shape[1] != x.shape[1]:
        raise ValueError(f"{name} is for {table.shape[1]} tokens, not {x.shape[1]}")
    return x + table


def vit_embeddings(x, dim, patch_size, grid, prefix_tokens=0, use_bias=True, *, name):
    """Patches as tokens, learned tokens before them, and positions for a `grid` of patches."""
    inputs = keras.Input(x.shape[1:])
    y = patch_embedding(
        inputs, dim, patch_size, use_bias=use_bias, name="patch_embeddings_projection"
    )
    if prefix_tokens:
        y = class_token(y, prefix_tokens, name="class_token")
    y = position_embedding(
        y,
        prefix_tokens + grid[0] * grid[1],
        grid=grid,
        patch_size=patch_size,
        image=inputs,
        name="position_embedding",
    )
    return keras.Model(inputs, y, name=name)(x)


def transformer_layer(
    x,
    num_heads,
    mlp_ratio=2,
    activation="gelu",
    attention_bias=True,
    epsilon=1e-12,
    dropout=0.0,
    *,
    name,
):
    """A pre-norm transformer layer on tokens (batch, tokens, channels)."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm_before")(inputs)
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, name="attention"
    )
    y = attention(y, y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm_after")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="mlp_fc1")(y)
    y = layers.Activation(activation, name="mlp_activation_fn")(y)
    y = layers.Dense(dim, name="mlp_fc2")(y)
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


def token_pooling(x, pooling="token", start=0):
    """(B, N, d) → (B, d): the token at `start`, or the mean from there on."""
    return x[:, start] if pooling == "token" else ops.mean(x[:, start:], axis=1)


def token_classifier(
    x,
    num_classes,
    pooling="token",
    start=0,
    use_bias=True,
    dropout=0.0,
    classifier_activation=None,
    *,
    name,
):
    """Logits of the token at `start`, or of the mean from there on."""
    x = token_pooling(x, pooling, start)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# Of photographs: onnx2mvit.preprocess(files, preprocessing=PREPROCESSING).
PREPROCESSING = {
    "size": [224, 224],
    "crop": None,
    "interpolation": "bilinear",
    "scale": 0.00392156862745098,
    "mean": [0.5],
    "std": [0.5],
    "channels": "rgb",
    "origin": "facebook/deit-base-patch16-224, as published",
}


def deit_base_patch16_224(
    input_shape=(224, 224, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    preprocessing="none",
    nested=True,
    weights=None,
    name="deit_base_patch16_224",
):
    """From pixel_values (batch, height, width, channels) to logits: logits (batch, 1000).

    Args:
        input_shape: (height, width, channels) of the images; the weights fit any size.
        num_classes: another number than 1000 makes a fresh head on the same weights.
        include_top: False for the features that the head reads, without it.
        pooling: of those features: None, or "avg" or "max" for a vector.
        classifier_activation: "softmax" for probabilities; None for logits.
        dropout: a rate, for training: before the head, and in transformer layers.
        preprocessing: "layers" to take RGB from 0 to 255, and begin with what it wants.
        nested: False for a flat model, without models for its blocks.
        weights: a safetensors file, beside this module or anywhere; None for a fresh model.
        name: that of the model.

    Raises:
        ValueError: arguments do not go together, or the weights do not fit.
    """
    check_arguments(include_top, pooling, classifier_activation, dropout)
    if preprocessing not in ("none", "layers"):
        raise ValueError("preprocessing is 'none' or 'layers'")
    if None in input_shape:
        raise ValueError("height and width must be known: or convert with --image-size any")
    inputs = keras.Input(input_shape, name="pixel_values")
    pixels = inputs
    if preprocessing == "layers":
        pixels = layers.Rescaling(PREPROCESSING["scale"], name="rescaling")(pixels)
        pixels = layers.Normalization(
            mean=PREPROCESSING["mean"],
            variance=[std**2 for std in PREPROCESSING["std"]],
            name="normalization",
        )(pixels)
    x = vit_embeddings(
        pixels, 768, patch_size=16, grid=(14, 14), prefix_tokens=1, name="embeddings"
    )
    for i in range(12):
        x = transformer_layer(x, 12, mlp_ratio=4, dropout=dropout, name=f"layers.{i}")
    x = layers.LayerNormalization(epsilon=1e-12, name="layernorm")(x)
    if include_top:
        x = token_classifier(
            x,
            num_classes,
            dropout=dropout,
            classifier_activation=classifier_activation,
            name="classifier",
        )
    else:
        x = pooled(x, pooling)
    model = keras.Model(inputs, x, name=name)
    if not nested:
        model = flatten(model)
    if weights is not None:
        load_weights(model, weights, fresh=() if num_classes == 1000 else ("classifier",))
    return model


def check_arguments(include_top, pooling, classifier_activation, dropout):
    """Raises ValueError for arguments that do not go together."""
    if pooling not in (None, "avg", "max") or (include_top and pooling):
        raise ValueError(f'pooling is "avg" or "max" with include_top=False, not {pooling!r}')
    if classifier_activation and not include_top:
        raise ValueError("classifier_activation is for the head: it needs include_top=True")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is a rate from 0 to below 1, not {dropout!r}")


def pooled(x, pooling):
    """Features (B, H, W, C), or tokens (B, N, C), as they are or as one vector (B, C)."""
    if pooling is None:
        return x
    axes = tuple(range(1, len(x.shape) - 1))
    return ops.mean(x, axes) if pooling == "avg" else ops.max(x, axes)


def flat_name(path):
    """The name of a layer in the flat model."""
    return path.replace("/", "_").replace(".", "_")


def flatten(model, inside="", inputs=None):
    """The same layers anew, without models in the model; each block's output has its name.

    With `inputs`, tensors of a model around it, what its layers make of those.
    """
    answer = None

    def clone(layer):
        if isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model):
            config = layer.get_config() | {"name": flat_name(inside + layer.name)}
            return type(layer).from_config(config)
        return layer

    def call(layer, *args, **kwargs):
        nonlocal answer
        if isinstance(layer, keras.Model):
            # Its layers are called on tensors of the flat model first: their output is there.
            answer = flatten(layer, f"{inside}{layer.name}/", args[0])
            answer = layers.Identity(name=flat_name(inside + layer.name))(answer)
        else:
            answer = layer(*args, **kwargs)
        return answer

    flat = keras.models.clone_model(model, inputs, clone_function=clone, call_function=call)
    return flat if inputs is None else answer  # the last call makes it


def variables(model, inside=""):
    """All weights by path, those of models in the model with the names of these before."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from variables(layer, f"{inside}{layer.name}/")
        else:
            own = f"{layer.name}/"  # a copy of a layer around others leaves it out of paths
            for variable in layer.weights:
                yield inside + own + variable.path.removeprefix(own), variable


def load_weights(model, file, fresh=()):
    """Sets the weights by path from a safetensors file; layers in `fresh` keep their own."""
    file = pathlib.Path(__file__).parent / file
    data = np.memmap(file, mode="r")
    start = 8 + int.from_bytes(bytes(data[:8]), "little")
    header = json.loads(bytes(data[8:start]))
    stored = {flat_name(path): entry for path, entry in header.items()}
    for path, variable in variables(model):
        if flat_name(path.rpartition("/")[0]) in map(flat_name, fresh):
            continue
        entry = stored.get(flat_name(path), {"shape": None})
        if entry["shape"] != list(variable.shape):
            shapes = f"has shape {list(variable.shape)} here, {entry['shape']} there"
            raise ValueError(f"{file} does not fit the model: {path} {shapes}")
        begin, size = start + entry["data_offsets"][0], int(np.prod(variable.shape))
        array = np.fromfile(file, "<f4", size, offset=begin)
        variable.assign(array.reshape(variable.shape))
