"""resnet_50: microsoft/resnet-50, as onnx2mvit writes it (`make zoo`)."""

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
    groups=1,
    padding=None,
    activation="relu",
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
    conv = layers.Conv2D(
        filters, kernel_size, **steps, groups=groups, use_bias=use_bias, name=f"{name}_conv"
    )
    x = conv(x)
    if batch_norm:
        bn = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name=f"{name}_bn")
        x = bn(x)
    if activation:
        x = layers.Activation(activation, name=f"{name}_act")(x)
    return x


def max_pooling(x, pool_size, strides=1, padding=0, *, name):
    """The largest pixel of every window; as in PyTorch, padding counts as minus infinity."""
    end = padding
    if end:
        border = (padding, end)
        x = ops.pad(x, ((0, 0), border, border, (0, 0)), constant_values=float("-inf"))
    return layers.MaxPooling2D(pool_size, strides, name=name)(x)


def bottleneck(
    x,
    filters,
    strides=1,
    width_ratio=0.25,
    dilation=1,
    groups=1,
    activation="relu",
    branch_activation=None,
    output_activation="relu",
    *,
    name,
    **conv,
):
    """ResNet's bottleneck: 1×1, 3×3, 1×1, and the input or its projection added."""
    inputs = keras.Input(x.shape[1:])
    width = round(filters * width_ratio)
    first, second = 1, strides
    y = conv_bn_act(inputs, width, 1, strides=first, activation=activation, name="layer_0", **conv)
    y = conv_bn_act(
        y,
        width,
        3,
        strides=second,
        dilation=dilation,
        groups=groups,
        activation=activation,
        name="layer_1",
        **conv,
    )
    y = conv_bn_act(y, filters, 1, activation=branch_activation, name="layer_2", **conv)
    shortcut = inputs
    if strides > 1 or x.shape[-1] != filters:
        shortcut = conv_bn_act(
            shortcut, filters, 1, strides=strides, activation=None, name="shortcut", **conv
        )
    y = layers.Add(name="add")([shortcut, y])
    if output_activation:
        y = layers.Activation(output_activation, name="activation")(y)
    return keras.Model(inputs, y, name=name)(x)


def classifier(x, num_classes, use_bias=True, dropout=0.0, classifier_activation=None, *, name):
    """Global average pooling and a linear layer: logits, unless it gets an activation."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = (
    "encoder.stages.0.layers.2",
    "encoder.stages.1.layers.3",
    "encoder.stages.2.layers.5",
    "encoder.stages.3.layers.2",
)


# Of photographs: onnx2mvit.preprocess(files, preprocessing=PREPROCESSING).
PREPROCESSING = {
    "size": [224, 224],
    "crop": 0.875,
    "interpolation": "bicubic",
    "scale": 0.00392156862745098,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "channels": "rgb",
    "origin": "microsoft/resnet-50, as published",
}


def resnet_50(
    input_shape=(224, 224, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    preprocessing="none",
    nested=True,
    weights=None,
    name="resnet_50",
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
    inputs = keras.Input(input_shape, name="pixel_values")
    pixels = inputs
    if preprocessing == "layers":
        pixels = layers.Rescaling(PREPROCESSING["scale"], name="rescaling")(pixels)
        pixels = layers.Normalization(
            mean=PREPROCESSING["mean"],
            variance=[std**2 for std in PREPROCESSING["std"]],
            name="normalization",
        )(pixels)
    x = conv_bn_act(pixels, 64, kernel_size=7, strides=2, name="embedder")
    x = max_pooling(x, 3, strides=2, padding=1, name="embedder_pooler")
    for i in range(3):
        x = bottleneck(x, 256, name=f"encoder.stages.0.layers.{i}")
    x = bottleneck(x, 512, strides=2, name="encoder.stages.1.layers.0")
    for i in range(1, 4):
        x = bottleneck(x, 512, name=f"encoder.stages.1.layers.{i}")
    x = bottleneck(x, 1024, strides=2, name="encoder.stages.2.layers.0")
    for i in range(1, 6):
        x = bottleneck(x, 1024, name=f"encoder.stages.2.layers.{i}")
    x = bottleneck(x, 2048, strides=2, name="encoder.stages.3.layers.0")
    x = bottleneck(x, 2048, name="encoder.stages.3.layers.1")
    x = bottleneck(x, 2048, name="encoder.stages.3.layers.2")
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
