"""mobilevitv2_100: apple/mobilevitv2-1.0-imagenet1k-256, as onnx2mvit writes it (`make zoo`)."""

import json
import pathlib

import keras
import numpy as np
from keras import layers, ops


def conv_bn_act(
    x,
    filters,
    kernel_size,
    strides=1,
    dilation=1,
    depthwise=False,
    groups=1,
    padding=None,
    activation="silu",
    batch_norm=True,
    use_bias=False,
    bn_epsilon=1e-5,
    bn_momentum=0.9,
    *,
    name,
):
    """A convolution, batch normalization and an activation."""
    if padding is None and strides > 1 and kernel_size > 1:
        # PyTorch pads every side alike, "same" would not.
        x = layers.ZeroPadding2D(dilation * ((kernel_size - 1) // 2), name=f"{name}_pad")(x)
        padding = "valid"
    steps = {"strides": strides, "dilation_rate": dilation, "padding": padding or "same"}
    if depthwise:
        conv = layers.DepthwiseConv2D(
            kernel_size, **steps, use_bias=use_bias, name=f"{name}_convolution"
        )
    else:
        conv = layers.Conv2D(
            filters,
            kernel_size,
            **steps,
            groups=groups,
            use_bias=use_bias,
            name=f"{name}_convolution",
        )
    x = conv(x)
    if batch_norm:
        bn = layers.BatchNormalization(
            epsilon=bn_epsilon, momentum=bn_momentum, name=f"{name}_normalization"
        )
        x = bn(x)
    if activation:
        x = layers.Activation(activation, name=f"{name}_activation")(x)
    return x


def inverted_residual(
    x, filters, expansion, strides=1, kernel_size=3, dilation=1, activation="silu", *, name, **conv
):
    """MobileNetV2's block: 1×1 expand, depthwise, 1×1 project, and the input added if it fits."""
    inputs = keras.Input(x.shape[1:])
    channels = expanded = x.shape[-1]
    y = inputs
    if expansion is not None:
        expanded = round(channels * expansion)
        expand = {"activation": activation, **conv}
        y = conv_bn_act(y, expanded, 1, name="expand_1x1", **expand)
    y = conv_bn_act(
        y,
        expanded,
        kernel_size,
        strides=strides,
        dilation=dilation,
        depthwise=True,
        activation=activation,
        name="conv_3x3",
        **conv,
    )
    y = conv_bn_act(y, filters, 1, activation=None, name="reduce_1x1", **conv)
    if strides == 1 and channels == filters:
        y = layers.Add(name="add")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


def fill_patches(x, patch_size):
    """Stretches images (B, H, W, C) until patches fill them: bilinear, corners stay corners."""
    for axis, along in ((1, "bhwc,ih->biwc"), (2, "bhwc,iw->bhic")):
        size = x.shape[axis]
        whole = -(-size // patch_size) * patch_size
        if whole != size:
            places = np.linspace(0, size - 1, whole, dtype="float32")
            distances = np.abs(places[:, None] - np.arange(size, dtype="float32"))
            x = ops.einsum(along, x, np.maximum(1 - distances, 0))
    return x


def unfold_patches(x, patch_size):
    """(B, H, W, d) → (B, P, N, d) for the P pixels of each of N patches."""
    _, height, width, dim = x.shape
    rows, columns = height // patch_size, width // patch_size
    if (height % patch_size, width % patch_size) != (0, 0):
        x = x[:, : rows * patch_size, : columns * patch_size]
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, patch_size**2, rows * columns, dim))


def separable_self_attention(x, use_bias=True, *, name):
    """Self-attention of patches (batch, pixels, patches, channels) in linear time."""
    dim = x.shape[-1]
    qkv = conv_bn_act(
        x,
        1 + 2 * dim,
        1,
        activation=None,
        batch_norm=False,
        use_bias=use_bias,
        name=f"{name}_qkv_proj",
    )
    query, key, value = ops.split(qkv, [1, 1 + dim], axis=-1)
    context = ops.sum(key * ops.softmax(query, axis=2), axis=2, keepdims=True)
    y = layers.Activation("relu", name=f"{name}_act")(value) * context
    return conv_bn_act(
        y, dim, 1, activation=None, batch_norm=False, use_bias=use_bias, name=f"{name}_out_proj"
    )


def separable_transformer_layer(
    x, mlp_ratio=2, activation="silu", use_bias=True, epsilon=1e-5, dropout=0.0, *, name
):
    """A pre-norm transformer layer on patches (batch, pixels, patches, channels)."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    y = layers.GroupNormalization(1, epsilon=epsilon, name="layernorm_before")(inputs)
    y = separable_self_attention(y, use_bias=use_bias, name="attention")
    if dropout:
        y = layers.Dropout(dropout, name="dropout_attention")(y)
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.GroupNormalization(1, epsilon=epsilon, name="layernorm_after")(x1)
    y = conv_bn_act(
        y,
        round(dim * mlp_ratio),
        1,
        activation=activation,
        batch_norm=False,
        use_bias=use_bias,
        name="ffn_conv1",
    )
    y = conv_bn_act(
        y, dim, 1, activation=None, batch_norm=False, use_bias=use_bias, name="ffn_conv2"
    )
    if dropout:
        y = layers.Dropout(dropout, name="dropout_mlp")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


def fold_patches(x, image, patch_size):
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


def mobilevitv2_block(
    x,
    filters,
    dim,
    depth,
    patch_size,
    mlp_ratio=2,
    kernel_size=3,
    dilation=1,
    stretch=False,
    activation="silu",
    transformer_bias=True,
    epsilon=1e-5,
    dropout=0.0,
    *,
    name,
    **conv,
):
    """Local convolutions, a separable transformer over patches, and a projection.

    An image that patches do not fill is stretched, or else the rest of it becomes zeros.
    """
    inputs = keras.Input(x.shape[1:])
    y = fill_patches(inputs, patch_size) if stretch else inputs
    y = conv_bn_act(
        y,
        y.shape[-1],
        kernel_size,
        dilation=dilation,
        depthwise=True,
        activation=activation,
        name="conv_kxk",
        **conv,
    )
    y = conv_bn_act(y, dim, 1, activation=None, batch_norm=False, use_bias=False, name="conv_1x1")
    image = y
    y = unfold_patches(image, patch_size)
    for i in range(depth):
        y = separable_transformer_layer(
            y,
            mlp_ratio=mlp_ratio,
            activation=activation,
            use_bias=transformer_bias,
            epsilon=epsilon,
            dropout=dropout,
            name=f"transformer.layer.{i}",
        )
    y = layers.GroupNormalization(1, epsilon=epsilon, name="layernorm")(y)
    y = fold_patches(y, image, patch_size)
    y = conv_bn_act(y, filters, 1, activation=None, name="conv_projection", **conv)
    return keras.Model(inputs, y, name=name)(x)


def classifier(x, num_classes, use_bias=True, dropout=0.0, classifier_activation=None, *, name):
    """Global average pooling and a linear layer: logits, unless it gets an activation."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = ("encoder.layer.1.layer.1", "encoder.layer.2", "encoder.layer.3", "encoder.layer.4")


# Of photographs: onnx2mvit.preprocess(files, preprocessing=PREPROCESSING).
PREPROCESSING = {
    "size": [256, 256],
    "crop": 1.0,
    "interpolation": "bilinear",
    "scale": 0.00392156862745098,
    "mean": [0.0],
    "std": [1.0],
    "channels": "rgb",
    "origin": "apple/mobilevitv2-1.0-imagenet1k-256, as published",
}


def mobilevitv2_100(
    input_shape=(256, 256, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    preprocessing="none",
    nested=True,
    weights=None,
    name="mobilevitv2_100",
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
    x = conv_bn_act(pixels, 32, kernel_size=3, strides=2, name="conv_stem")
    x = inverted_residual(x, 64, expansion=2, name="encoder.layer.0.layer.0")
    x = inverted_residual(x, 128, expansion=2, strides=2, name="encoder.layer.1.layer.0")
    x = inverted_residual(x, 128, expansion=2, name="encoder.layer.1.layer.1")
    x = inverted_residual(x, 256, expansion=2, strides=2, name="encoder.layer.2.downsampling_layer")
    x = mobilevitv2_block(
        x, 256, dim=128, depth=2, patch_size=2, dropout=dropout, name="encoder.layer.2"
    )
    x = inverted_residual(x, 384, expansion=2, strides=2, name="encoder.layer.3.downsampling_layer")
    x = mobilevitv2_block(
        x, 384, dim=192, depth=4, patch_size=2, dropout=dropout, name="encoder.layer.3"
    )
    x = inverted_residual(x, 512, expansion=2, strides=2, name="encoder.layer.4.downsampling_layer")
    x = mobilevitv2_block(
        x, 512, dim=256, depth=3, patch_size=2, dropout=dropout, name="encoder.layer.4"
    )
    if include_top:
        x = classifier(
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
