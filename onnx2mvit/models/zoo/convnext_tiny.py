"""convnext_tiny: facebook/convnext-tiny-224, as onnx2mvit writes it (`make zoo`)."""

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
    activation=None,
    batch_norm=False,
    use_bias=True,
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
        conv = layers.DepthwiseConv2D(kernel_size, **steps, use_bias=use_bias, name=f"{name}_conv")
    else:
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


def normalized_patch_embedding(x, dim, kernel_size=4, strides=4, epsilon=1e-5, *, name, **conv):
    """(B, H, W, 3) → (B, H/4, W/4, dim): a linear layer on each patch, and a normalization."""
    inputs = keras.Input(x.shape[1:])
    y = conv_bn_act(
        inputs, dim, kernel_size, strides, activation=None, name="patch_embeddings", **conv
    )
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm")(y)
    return keras.Model(inputs, y, name=name)(x)


def layer_scaled(x, *, name):
    """Tokens, or pixels, times a learned factor for each channel, which is small at first."""
    small = keras.initializers.Constant(1e-4)
    # Deployed, what is scaled stays as it lies; EinsumDense would be a product of matrices.
    scale = layers.DepthwiseConv2D if len(x.shape) == 4 else layers.DepthwiseConv1D
    return scale(1, depthwise_initializer=small, use_bias=False, name=name)(x)


def convnext_block(
    x,
    kernel_size=7,
    dilation=1,
    mlp_ratio=4,
    activation="gelu",
    layer_scale=True,
    mlp_bias=True,
    epsilon=1e-6,
    *,
    name,
    **conv,
):
    """A depthwise convolution, and an MLP on the normalized channels of each pixel."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    conv |= {"dilation": dilation, "depthwise": True, "activation": None}
    y = conv_bn_act(inputs, dim, kernel_size, name="dwconv", **conv)
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm")(y)
    y = layers.Dense(round(dim * mlp_ratio), use_bias=mlp_bias, name="pwconv1")(y)
    y = layers.Activation(activation, name="act")(y)
    y = layers.Dense(dim, use_bias=mlp_bias, name="pwconv2")(y)
    if layer_scale:
        y = layer_scaled(y, name="scale")
    y = layers.Add(name="residual")([inputs, y])
    return keras.Model(inputs, y, name=name)(x)


def convnext_downsampling(x, filters, kernel_size=2, strides=2, epsilon=1e-6, *, name, **conv):
    """Normalizes the channels of each pixel, and makes one pixel of 2×2."""
    inputs = keras.Input(x.shape[1:])
    y = layers.LayerNormalization(epsilon=epsilon, name="norm")(inputs)
    y = conv_bn_act(y, filters, kernel_size, strides, activation=None, name="conv", **conv)
    return keras.Model(inputs, y, name=name)(x)


def normalized_classifier(
    x, num_classes, use_bias=True, epsilon=1e-6, dropout=0.0, classifier_activation=None, *, name
):
    """Global average pooling, normalization and a linear layer: logits."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    x = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_norm")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = (
    "encoder.stages.0.layers.2",
    "encoder.stages.1.layers.2",
    "encoder.stages.2.layers.8",
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
    "origin": "facebook/convnext-tiny-224, as published",
}


def convnext_tiny(
    input_shape=(224, 224, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    preprocessing="none",
    nested=True,
    weights=None,
    name="convnext_tiny",
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
    x = normalized_patch_embedding(pixels, 96, epsilon=1e-06, padding="valid", name="embeddings")
    for i in range(3):
        x = convnext_block(x, name=f"encoder.stages.0.layers.{i}")
    x = convnext_downsampling(x, 192, padding="valid", name="encoder.stages.1.downsampling_layer")
    for i in range(3):
        x = convnext_block(x, name=f"encoder.stages.1.layers.{i}")
    x = convnext_downsampling(x, 384, padding="valid", name="encoder.stages.2.downsampling_layer")
    for i in range(9):
        x = convnext_block(x, name=f"encoder.stages.2.layers.{i}")
    x = convnext_downsampling(x, 768, padding="valid", name="encoder.stages.3.downsampling_layer")
    for i in range(3):
        x = convnext_block(x, name=f"encoder.stages.3.layers.{i}")
    if include_top:
        x = normalized_classifier(
            x,
            num_classes,
            epsilon=1e-12,
            dropout=dropout,
            classifier_activation=classifier_activation,
            name="layernorm",
        )
    else:
        x = pooled(x, pooling)
    model = keras.Model(inputs, x, name=name)
    if not nested:
        model = flatten(model)
    if weights is not None:
        load_weights(model, weights, fresh=() if num_classes == 1000 else ("layernorm",))
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
