"""deeplabv3_mobilenet_v2_100: google/deeplabv3_mobilenet_v2_1.0_513, as onnx2mvit writes it (`make zoo`)."""

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
    activation="relu6",
    batch_norm=True,
    use_bias=False,
    bn_epsilon=0.001,
    bn_momentum=0.003,
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
    x, filters, expansion, strides=1, kernel_size=3, dilation=1, activation="relu6", *, name, **conv
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


def global_mean(x):
    """The mean of all pixels, by rows first: one sum over all of them would lose digits."""
    return ops.mean(ops.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)


def aspp(x, filters, rates, depthwise_activation=None, activation="relu", *, name, **conv):
    """Convolutions of several rates side by side, joined by a 1×1 convolution.

    The rate 1 is a 1×1 convolution, others are 3×3; "image" is the mean of all pixels.
    """
    inputs = keras.Input(x.shape[1:])
    conv["activation"] = activation
    branches = []
    for i, rate in enumerate(rates):
        if rate == "image":
            y = conv_bn_act(global_mean(inputs), filters, 1, name=f"branch.{i}", **conv)
            y = ops.ones_like(inputs[..., :1]) * y  # the same at every pixel
        else:
            size = 1 if rate == 1 else 3
            y = conv_bn_act(inputs, filters, size, dilation=rate, name=f"branch.{i}", **conv)
        branches.append(y)
    y = layers.Concatenate(name="concat")(branches)
    y = conv_bn_act(y, filters, 1, name="project", **conv)
    return keras.Model(inputs, y, name=name)(x)


def pixel_classifier(x, num_classes, dropout=0.0, *, name):
    """(B, H, W, C) → (B, H, W, classes): logits of every pixel."""
    if dropout:
        x = layers.SpatialDropout2D(dropout, name=f"{name}_dropout")(x)
    return conv_bn_act(
        x, num_classes, 1, activation=None, batch_norm=False, use_bias=True, name=name
    )


def deeplabv3_head(x, num_classes, filters, rates, dropout=0.0, *, name, **aspp_options):
    """Atrous spatial pyramid pooling, and a classifier of every pixel."""
    inputs = keras.Input(x.shape[1:])
    y = aspp(inputs, filters, rates, name="conv_pool", **aspp_options)
    y = pixel_classifier(y, num_classes, dropout, name="classifier")
    return keras.Model(inputs, y, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = ("layer.1", "layer.15")


# Of photographs: onnx2mvit.preprocess(files, preprocessing=PREPROCESSING).
PREPROCESSING = {
    "size": [513, 513],
    "crop": 0.875,
    "interpolation": "bilinear",
    "scale": 0.00392156862745098,
    "mean": [0.5],
    "std": [0.5],
    "channels": "rgb",
    "origin": "google/deeplabv3_mobilenet_v2_1.0_513, as published",
}


def deeplabv3_mobilenet_v2_100(
    input_shape=(513, 513, 3),
    num_classes=21,
    include_top=True,
    pooling=None,
    dropout=0.0,
    preprocessing="none",
    nested=True,
    weights=None,
    name="deeplabv3_mobilenet_v2_100",
):
    """From pixel_values (batch, height, width, channels) to logits: logits (batch, height, width, channels).

    Args:
        input_shape: (height, width, channels) of the images; the weights fit any size.
        num_classes: another number than 21 makes a fresh head on the same weights.
        include_top: False for the features that the head reads, without it.
        pooling: of those features: None, or "avg" or "max" for a vector.
        dropout: a rate, for training: before the head, and in transformer layers.
        preprocessing: "layers" to take RGB from 0 to 255, and begin with what it wants.
        nested: False for a flat model, without models for its blocks.
        weights: a safetensors file, beside this module or anywhere; None for a fresh model.
        name: that of the model.

    Raises:
        ValueError: arguments do not go together, or the weights do not fit.
    """
    check_arguments(include_top, pooling, None, dropout)
    if preprocessing not in ("none", "layers"):
        raise ValueError("preprocessing is 'none' or 'layers'")
    inputs = keras.Input(input_shape, name="pixel_values")
    pixels = inputs
    if preprocessing == "layers":
        pixels = layers.Rescaling(PREPROCESSING["scale"], name="rescaling")(pixels)
        pixels = layers.Normalization(
            mean=PREPROCESSING["mean"],
            variance=[std**2 for std in PREPROCESSING["std"]],
            name="normalization",
        )(pixels)
    x = conv_bn_act(pixels, 32, kernel_size=3, strides=2, name="conv_stem_first_conv")
    x = inverted_residual(x, 16, expansion=None, name="conv_stem")
    x = inverted_residual(x, 24, expansion=6, strides=2, name="layer.0")
    x = inverted_residual(x, 24, expansion=6, name="layer.1")
    x = inverted_residual(x, 32, expansion=6, strides=2, name="layer.2")
    x = inverted_residual(x, 32, expansion=6, name="layer.3")
    x = inverted_residual(x, 32, expansion=6, name="layer.4")
    x = inverted_residual(x, 64, expansion=6, name="layer.5")
    for i in range(6, 9):
        x = inverted_residual(x, 64, expansion=6, dilation=2, name=f"layer.{i}")
    for i in range(9, 12):
        x = inverted_residual(x, 96, expansion=6, dilation=2, name=f"layer.{i}")
    x = inverted_residual(x, 160, expansion=6, dilation=2, name="layer.12")
    x = inverted_residual(x, 160, expansion=6, dilation=4, name="layer.13")
    x = inverted_residual(x, 160, expansion=6, dilation=4, name="layer.14")
    x = inverted_residual(x, 320, expansion=6, dilation=4, name="layer.15")
    if include_top:
        x = deeplabv3_head(
            x,
            num_classes,
            filters=256,
            rates=("image", 1),
            bn_epsilon=1e-05,
            dropout=dropout,
            name="segmentation_head",
        )
    else:
        x = pooled(x, pooling)
    model = keras.Model(inputs, x, name=name)
    if not nested:
        model = flatten(model)
    if weights is not None:
        load_weights(
            model,
            weights,
            fresh=() if num_classes == 21 else ("segmentation_head/classifier_convolution",),
        )
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
