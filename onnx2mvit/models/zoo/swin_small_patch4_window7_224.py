"""swin_small_patch4_window7_224: microsoft/swin-small-patch4-window7-224, as onnx2mvit writes it (`make zoo`)."""

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


def image_of_tokens(x, stride, input_shape):
    """(B, N, C) → (B, H, W, C): a token for each square of an image is a pixel."""
    height, width = input_shape[0] // stride, input_shape[1] // stride
    return layers.Reshape((height, width, x.shape[-1]))(x)


def window_partition(x, window_size):
    """(B, H, W, C) → (B·n, N, C): the pixels of each of n windows, row by row."""
    _, height, width, dim = x.shape
    rows, columns = height // window_size, width // window_size
    x = ops.reshape(x, (-1, rows, window_size, columns, window_size, dim))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, window_size**2, dim))


def offset_index(grid, stride=1, absolute=False):
    """(N, M): a number for the offset from each key of a grid to each query in it."""
    places = np.indices(grid)
    queries, keys = places[:, ::stride, ::stride].reshape(2, -1, 1), places.reshape(2, 1, -1)
    down, right = queries - keys
    if absolute:
        return abs(down) * grid[1] + abs(right)
    return (down + grid[0] - 1) * (2 * grid[1] - 1) + right + grid[1] - 1


def score_bias(x, grid=None, stride=1, absolute=False, *, name):
    """Scores (B, heads, N, M) plus a learned number for each pair of a query and a key.

    Pairs with the same offset in a `grid` (rows, columns) of keys share it, if there is one; if
    `absolute`, so do those with the opposite offset.
    """
    _, heads, queries, keys = x.shape
    index = np.arange(queries * keys).reshape(queries, keys)
    if grid:
        index = offset_index(grid, stride, absolute)
        if index.shape != (queries, keys):
            raise ValueError(f"{name} is for {index.shape[1]} keys in a grid, not {keys}")
    pairs = ops.zeros_like(x[:1, 0], dtype="int32") + index.astype("int32")
    bias = layers.Embedding(int(index.max()) + 1, heads, name=name)(pairs)
    return x + ops.transpose(bias, (0, 3, 1, 2))


def shift_mask(windows, window_size, shift):
    """(n, 1, N, N): lowers the scores of two pixels that come from two sides of the image."""
    # A single row or column of windows is not rolled across itself.
    rolled = [np.arange(n * window_size) >= n * window_size - shift * (n > 1) for n in windows]
    side = 2 * rolled[0][:, None] + rolled[1]
    side = side.reshape(windows[0], window_size, windows[1], window_size)
    side = side.transpose(0, 2, 1, 3).reshape(-1, 1, window_size**2)
    return np.where(side[..., None] == side[:, :, None], 0, -100).astype("float32")


def shift_masked(x, shift, windows):
    """Scores (B·n, heads, N, N) of rows and columns of windows, of an image that was rolled."""
    _, heads, tokens, _ = x.shape
    x = ops.reshape(x, (-1, windows[0] * windows[1], heads, tokens, tokens))
    x = x + shift_mask(windows, round(tokens**0.5), shift)
    return ops.reshape(x, (-1, heads, tokens, tokens))


def biased_attention(x, key, value, num_heads, shift=0, windows=None, *, name, **bias):
    """Attention of the queries (B, N, h·k) to those of which key and value are, with a bias.

    They are tokens, or the pixels of an image.
    """
    heads = (
        ops.reshape(y, (-1, int(np.prod(y.shape[1:-1])), num_heads, y.shape[-1] // num_heads))
        for y in (x, key, value)
    )
    q, k, v = heads
    scores = ops.einsum("bthk,bshk->bhts", q, k) * q.shape[-1] ** -0.5
    scores = score_bias(scores, **bias, name=name)
    if shift and windows is not None:
        scores = shift_masked(scores, shift, windows)
    weights = layers.Softmax()(scores)
    y = ops.einsum("bhts,bshd->bthd", weights, v)
    return ops.reshape(y, (-1, q.shape[1], v.shape[2] * v.shape[3]))


def biased_self_attention(
    x, num_heads, key_dim=None, value_dim=None, qkv_bias=True, *, name, **bias
):
    """Attention among tokens (B, N, C), with a learned bias on the scores.

    The channels of a head are C / num_heads unless `key_dim` or `value_dim` say otherwise.
    """
    dim = x.shape[-1]
    keys = key_dim or dim // num_heads
    values = value_dim or keys
    query = layers.Dense(num_heads * keys, use_bias=qkv_bias, name=f"{name}_q_proj")(x)
    key = layers.Dense(num_heads * keys, use_bias=qkv_bias, name=f"{name}_k_proj")(x)
    value = layers.Dense(num_heads * values, use_bias=qkv_bias, name=f"{name}_v_proj")(x)
    y = biased_attention(query, key, value, num_heads, name=f"{name}_bias", **bias)
    return layers.Dense(dim, name=f"{name}_o_proj")(y)


def window_reverse(x, height, width, window_size):
    """(B·n, N, C) → (B, H, W, C): the image of which these are the windows."""
    dim = x.shape[-1]
    rows, columns = height // window_size, width // window_size
    x = ops.reshape(x, (-1, rows, columns, window_size, window_size, dim))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, dim))


def feed_forward(x, mlp_ratio=4, activation="gelu", epsilon=1e-5, dropout=0.0, *, name):
    """Two linear layers on what is normalized of each token or pixel, added to it."""
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)
    y = layers.Dense(round(dim * mlp_ratio), name=f"{name}_hidden")(y)
    y = layers.Activation(activation, name=f"{name}_act")(y)
    y = layers.Dense(dim, name=f"{name}_out")(y)
    if dropout:
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def swin_block(
    x,
    num_heads,
    window_size,
    shift=0,
    mlp_ratio=4,
    activation="gelu",
    qkv_bias=True,
    pairwise=False,
    epsilon=1e-5,
    dropout=0.0,
    *,
    name,
):
    """Attention in windows of an image (B, H, W, C), and an MLP.

    The bias is learned for each offset in a window, for each `absolute` one, or, if `pairwise`, for
    each pair of pixels. The mask of shifted windows is the paper's, or one for so many windows.
    Zeros `fill` the last windows "first", or once the image is "rolled". A single row of windows is
    shifted `along` itself alone.
    """
    _, height, width, _ = x.shape
    rows, columns = height // window_size, width // window_size
    if (rows * window_size, columns * window_size) != (height, width):
        raise ValueError(f"{name}: windows of {window_size} do not fill {height}×{width} pixels")
    steps = (shift, shift)
    if rows == 1 or columns == 1:
        if shift and rows != columns:
            raise ValueError(f"{name}: {rows}×{columns} windows cannot be shifted")
        steps = (0, 0)  # there is but one
    own = {"qkv_bias": qkv_bias}
    if not pairwise:
        own["grid"] = (window_size, window_size)
    shift = hidden = max(steps)  # by the paper's mask
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm_before")(inputs)
    if shift:
        y = ops.roll(y, (-steps[0], -steps[1]), axis=(1, 2))
    y = window_partition(y, window_size)
    y = biased_self_attention(
        y, num_heads, shift=hidden, windows=(rows, columns), **own, name="attention"
    )
    y = window_reverse(y, height, width, window_size)
    if shift:
        y = ops.roll(y, steps, axis=(1, 2))
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attn")(y)
    y = layers.Add(name="add_attn")([inputs, y])
    y = feed_forward(
        y, mlp_ratio, activation, epsilon=epsilon, dropout=dropout, name="layernorm_after"
    )
    return keras.Model(inputs, y, name=name)(x)


def swin_stage(
    x,
    depth,
    num_heads,
    window_size=7,
    flat_output=False,
    stride=None,
    input_shape=(),
    dropout=0.0,
    *,
    name,
    **block,
):
    """Blocks on an image, whose windows are shifted in every second."""
    if None in x.shape[1:]:
        raise ValueError(f"{name}: the size of the image must be known")
    y = inputs = keras.Input(x.shape[1:])
    if stride is not None:  # they are tokens, one for each such square of the image
        y = image_of_tokens(y, stride, input_shape)
    for i in range(depth):
        shift = i % 2 * (window_size // 2)
        y = swin_block(
            y, num_heads, window_size, shift=shift, dropout=dropout, name=f"blocks.{i}", **block
        )
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    return keras.Model(inputs, y, name=name)(x)


def patch_merging(x, dim, epsilon=1e-5, flat_output=False, *, name):
    """Four pixels of an image become one, with other channels."""
    y = inputs = keras.Input(x.shape[1:])
    if y.shape[1] % 2 or y.shape[2] % 2:
        raise ValueError(f"{name}: {y.shape[1]}×{y.shape[2]} pixels cannot be halved")
    parts = [y[:, ::2, ::2], y[:, 1::2, ::2], y[:, ::2, 1::2], y[:, 1::2, 1::2]]
    y = layers.Concatenate(name="concat")(parts)
    if flat_output:
        y = layers.Reshape((-1, y.shape[-1]))(y)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(y)
    y = layers.Dense(dim, use_bias=False, name="reduction")(y)
    return keras.Model(inputs, y, name=name)(x)


def mean_classifier(
    x, num_classes, use_bias=True, dropout=0.0, classifier_activation=None, *, name
):
    """Logits of the mean of all pixels, unless it gets an activation."""
    x = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = ("encoder.layers.0.blocks", "encoder.layers.1.blocks", "encoder.layers.2.blocks")


def swin_small_patch4_window7_224(
    input_shape=(224, 224, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    nested=True,
    weights=None,
    name="swin_small_patch4_window7_224",
):
    """From pixel_values (batch, height, width, channels) to logits: logits (batch, 1000).

    Args:
        input_shape: (height, width, channels) of the images; the weights fit multiples of 224.
        num_classes: another number than 1000 makes a fresh head on the same weights.
        include_top: False for the features that the head reads, without it.
        pooling: of those features: None, or "avg" or "max" for a vector.
        classifier_activation: "softmax" for probabilities; None for logits.
        dropout: a rate, for training: before the head, and in transformer layers.
        nested: False for a flat model, without models for its blocks.
        weights: a safetensors file, beside this module or anywhere; None for a fresh model.
        name: that of the model.

    Raises:
        ValueError: arguments do not go together, or the weights do not fit.
    """
    check_arguments(include_top, pooling, classifier_activation, dropout)
    inputs = keras.Input(input_shape, name="pixel_values")
    x = patch_embedding(inputs, 96, patch_size=4, name="embeddings_patch_embeddings")
    x = layers.LayerNormalization(epsilon=1e-05, name="embeddings_norm")(x)
    x = swin_stage(
        x,
        2,
        num_heads=3,
        stride=4,
        dropout=dropout,
        input_shape=input_shape,
        name="encoder.layers.0.blocks",
    )
    x = patch_merging(x, 192, flat_output=True, name="encoder.layers.0.downsample")
    x = swin_stage(
        x,
        2,
        num_heads=6,
        stride=8,
        dropout=dropout,
        input_shape=input_shape,
        name="encoder.layers.1.blocks",
    )
    x = patch_merging(x, 384, flat_output=True, name="encoder.layers.1.downsample")
    x = swin_stage(
        x,
        18,
        num_heads=12,
        stride=16,
        dropout=dropout,
        input_shape=input_shape,
        name="encoder.layers.2.blocks",
    )
    x = patch_merging(x, 768, flat_output=True, name="encoder.layers.2.downsample")
    x = swin_stage(
        x,
        2,
        num_heads=24,
        flat_output=True,
        stride=32,
        dropout=dropout,
        input_shape=input_shape,
        name="encoder.layers.3",
    )
    x = layers.LayerNormalization(epsilon=1e-05, name="layernorm")(x)
    if include_top:
        x = mean_classifier(
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
