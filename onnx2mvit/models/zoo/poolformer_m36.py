"""poolformer_m36: sail/poolformer_m36, as onnx2mvit writes it (`make zoo`)."""

import json
import pathlib

import keras
import numpy as np
from keras import layers, ops


def overlapping_patch_embedding(x, dim, patch_size=7, strides=4, padding=2, use_bias=True, *, name):
    """A linear layer on the pixels of each patch, which has some in common with its neighbours."""
    x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return layers.Conv2D(dim, patch_size, strides=strides, use_bias=use_bias, name=name)(x)


def layer_scaled(x, *, name):
    """Tokens, or pixels, times a learned factor for each channel, which is small at first."""
    small = keras.initializers.Constant(1e-4)
    # Deployed, what is scaled stays as it lies; EinsumDense would be a product of matrices.
    scale = layers.DepthwiseConv2D if len(x.shape) == 4 else layers.DepthwiseConv1D
    return scale(1, depthwise_initializer=small, use_bias=False, name=name)(x)


def conv_bn_act(
    x,
    filters,
    kernel_size,
    strides=1,
    dilation=1,
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
    conv = layers.Conv2D(
        filters, kernel_size, **steps, groups=groups, use_bias=use_bias, name=f"{name}_projection"
    )
    x = conv(x)
    if batch_norm:
        bn = layers.BatchNormalization(epsilon=bn_epsilon, momentum=bn_momentum, name=f"{name}_bn")
        x = bn(x)
    if activation:
        x = layers.Activation(activation, name=f"{name}_act")(x)
    return x


def poolformer_block(
    x,
    pool_size=3,
    mlp_ratio=4,
    activation="gelu",
    layer_scale=True,
    use_bias=True,
    groups=1,
    epsilon=1e-5,
    *,
    name,
):
    """How pixels differ from the mean around them, and an MLP of each, both added to the input."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    norm = {"groups": groups, "epsilon": epsilon}
    linear = {"batch_norm": False, "use_bias": use_bias}
    y = layers.GroupNormalization(**norm, name="before_norm")(inputs)
    pooled = layers.AveragePooling2D(pool_size, 1, padding="same", name="pooling_pool")(y)
    y = layers.Subtract(name="token_mixer")([pooled, y])
    if layer_scale:
        y = layer_scaled(y, name="scale1")
    x1 = layers.Add(name="add_mixed")([inputs, y])
    y = layers.GroupNormalization(**norm, name="after_norm")(x1)
    y = conv_bn_act(
        y, round(dim * mlp_ratio), 1, activation=activation, name="output_conv1", **linear
    )
    y = conv_bn_act(y, dim, 1, activation=None, name="output_conv2", **linear)
    if layer_scale:
        y = layer_scaled(y, name="scale2")
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


def classifier(x, num_classes, use_bias=True, dropout=0.0, classifier_activation=None, *, name):
    """Global average pooling and a linear layer: logits, unless it gets an activation."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, classifier_activation, use_bias=use_bias, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = (
    "poolformer.encoder.block.0.5",
    "poolformer.encoder.block.1.5",
    "poolformer.encoder.block.2.17",
    "norm",
)


def poolformer_m36(
    input_shape=(224, 224, 3),
    num_classes=1000,
    include_top=True,
    pooling=None,
    classifier_activation=None,
    dropout=0.0,
    nested=True,
    weights=None,
    name="poolformer_m36",
):
    """From pixel_values (batch, height, width, channels) to logits: logits (batch, 1000).

    Args:
        input_shape: (height, width, channels) of the images; the weights fit any size.
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
    x = overlapping_patch_embedding(
        inputs, 96, name="poolformer_encoder_patch_embeddings_0_projection"
    )
    for i in range(6):
        x = poolformer_block(x, name=f"poolformer.encoder.block.0.{i}")
    x = conv_bn_act(x, 192, kernel_size=3, strides=2, name="poolformer_encoder_patch_embeddings_1")
    for i in range(6):
        x = poolformer_block(x, name=f"poolformer.encoder.block.1.{i}")
    x = conv_bn_act(x, 384, kernel_size=3, strides=2, name="poolformer_encoder_patch_embeddings_2")
    for i in range(18):
        x = poolformer_block(x, name=f"poolformer.encoder.block.2.{i}")
    x = conv_bn_act(x, 768, kernel_size=3, strides=2, name="poolformer_encoder_patch_embeddings_3")
    for i in range(6):
        x = poolformer_block(x, name=f"poolformer.encoder.block.3.{i}")
    x = layers.GroupNormalization(groups=1, epsilon=1e-05, name="norm")(x)
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
