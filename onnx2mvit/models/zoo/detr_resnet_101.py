"""detr_resnet_101: facebook/detr-resnet-101, as onnx2mvit writes it (`make zoo`)."""

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


def image_to_tokens(x):
    """(B, H, W, d) → (B, H·W, d): a token for every place, row by row."""
    return layers.Reshape((-1, x.shape[-1]))(x)


def position_embedding(x, num_positions, *, name):
    """Adds a learned vector to every token.

    Those of patches are for a `grid` (rows, columns) of them. For an `image` that has another
    they are resampled as Hugging Face does with `interpolate_pos_encoding=True`: bicubic
    (a = -0.75), half-pixel centres, no antialiasing. Without a grid there is no other size.
    """
    dim = x.shape[-1]
    index = ops.zeros_like(x[:1, :1, 0], dtype="int32") + np.arange(num_positions, dtype="int32")
    table = layers.Embedding(num_positions, dim, name=name)(index)
    if table.shape[1] != x.shape[1]:
        raise ValueError(f"{name} is for {table.shape[1]} tokens, not {x.shape[1]}")
    return x + table


def transformer_encoder_layer(
    x,
    num_heads,
    mlp_ratio=8,
    activation="relu",
    attention_bias=True,
    num_positions=None,
    epsilon=1e-5,
    dropout=0.0,
    *,
    name,
):
    """Attention and a feed-forward network on tokens (B, N, d), each added and normalized."""
    inputs = keras.Input(x.shape[1:])
    dim = x.shape[-1]
    query = inputs
    if num_positions is not None:
        query = position_embedding(query, num_positions, name="positions")
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, use_bias=attention_bias, dropout=dropout, name="attention"
    )
    y = layers.Add(name="add_attention")([inputs, attention(query, inputs, query)])
    y = layers.LayerNormalization(epsilon=epsilon, name="self_attn_layer_norm")(y)
    z = layers.Dense(round(dim * mlp_ratio), name="mlp_fc1")(y)
    z = layers.Activation(activation, name="mlp_activation_fn")(z)
    z = layers.Dense(dim, name="mlp_fc2")(z)
    if dropout:
        z = layers.Dropout(dropout, name="dropout_mlp")(z)
    y = layers.Add(name="add_mlp")([y, z])
    y = layers.LayerNormalization(epsilon=epsilon, name="final_layer_norm")(y)
    return keras.Model(inputs, y, name=name)(x)


def learned_tensor(x, shape, *, name):
    """A learned tensor of this shape for each image of `x`, or one that they share."""
    images = slice(None)
    zeros = ops.zeros_like(x[(images, *[0] * (len(x.shape) - 1))], dtype="int32")
    rows = int(np.prod(shape[:-1]))
    places = np.arange(rows, dtype="int32").reshape(shape[:-1])
    index = ops.reshape(zeros, (-1, *[1] * (len(shape) - 2))) + places
    return layers.Embedding(rows, shape[-1], name=name)(index)


def transformer_decoder_layer(
    x,
    *memory,
    num_heads,
    mlp_ratio=8,
    activation="relu",
    attention_bias=True,
    self_attention=True,
    num_positions=None,
    epsilon=1e-5,
    dropout=0.0,
    name,
):
    """Attention of tokens (B, N, d) to themselves and to a memory, and a feed-forward network.

    The memory is one tensor, or its values and its keys.
    """
    inputs = [keras.Input(tokens.shape[1:]) for tokens in (x, *memory)]
    y, value, key = inputs[0], inputs[1], inputs[-1]
    dim = x.shape[-1]
    heads = {"num_heads": num_heads, "key_dim": dim // num_heads, "dropout": dropout}
    if self_attention:
        query = y
        if num_positions is not None:
            query = position_embedding(query, num_positions, name="self_positions")
        attention = layers.MultiHeadAttention(
            **heads, use_bias=attention_bias, name="self_attention"
        )
        y = layers.Add(name="add_self")([y, attention(query, y, query)])
        y = layers.LayerNormalization(epsilon=epsilon, name="self_attn_layer_norm")(y)
    query = y
    if num_positions is not None:
        query = position_embedding(query, num_positions, name="positions")
    attention = layers.MultiHeadAttention(**heads, use_bias=attention_bias, name="cross_attention")
    y = layers.Add(name="add_cross")([y, attention(query, value, key)])
    y = layers.LayerNormalization(epsilon=epsilon, name="encoder_attn_layer_norm")(y)
    z = layers.Dense(round(dim * mlp_ratio), name="mlp_fc1")(y)
    z = layers.Activation(activation, name="mlp_activation_fn")(z)
    z = layers.Dense(dim, name="mlp_fc2")(z)
    if dropout:
        z = layers.Dropout(dropout, name="dropout_mlp")(z)
    y = layers.Add(name="add_mlp")([y, z])
    y = layers.LayerNormalization(epsilon=epsilon, name="final_layer_norm")(y)
    return keras.Model(inputs, y, name=name)([x, *memory])


def box_predictor(x, dim, *, name):
    """(B, N, d) → (B, N, 4): centre and size of a box for each query, by three linear layers."""
    inputs = keras.Input(x.shape[1:])
    y = layers.Dense(dim, name="layers_0")(inputs)
    y = layers.Activation("relu", name="first_act")(y)
    y = layers.Dense(dim, name="layers_1")(y)
    y = layers.Activation("relu", name="second_act")(y)
    y = layers.Dense(4, name="layers_2")(y)
    y = layers.Activation("sigmoid", name="box_act")(y)
    return keras.Model(inputs, y, name=name)(x)


# The last blocks at the strides 4 to 32; onnx2mvit.features(model, PYRAMID) gives them.
PYRAMID = (
    "model.backbone.model.encoder.stages.0.layers.2",
    "model.backbone.model.encoder.stages.1.layers.3",
    "model.backbone.model.encoder.stages.2.layers.22",
    "model_input_projection",
)


def detr_resnet_101(
    input_shape=(800, 800, 3),
    num_classes=92,
    include_top=True,
    pooling=None,
    dropout=0.0,
    nested=True,
    weights=None,
    name="detr_resnet_101",
):
    """From pixel_values (batch, height, width, channels) to logits: logits (batch, 100, 92), pred_boxes (batch, 100, 4).

    Args:
        input_shape: (height, width, channels): some operations hold for this one alone.
        num_classes: another number than 92 makes a fresh head on the same weights.
        include_top: False for the features that the head reads, without it.
        pooling: of those features: None, or "avg" or "max" for a vector.
        dropout: a rate, for training: before the head, and in transformer layers.
        nested: False for a flat model, without models for its blocks.
        weights: a safetensors file, beside this module or anywhere; None for a fresh model.
        name: that of the model.

    Raises:
        ValueError: arguments do not go together, or the weights do not fit.
    """
    check_arguments(include_top, pooling, None, dropout)
    if tuple(input_shape[:2]) != (800, 800):
        raise ValueError("some operations hold for the default input_shape alone")
    inputs = keras.Input(input_shape, name="pixel_values")
    x = conv_bn_act(inputs, 64, kernel_size=7, strides=2, name="model_backbone_model_embedder")
    x = max_pooling(x, 3, strides=2, padding=1, name="model_backbone_model_embedder_pooler")
    for i in range(3):
        x = bottleneck(x, 256, name=f"model.backbone.model.encoder.stages.0.layers.{i}")
    x = bottleneck(x, 512, strides=2, name="model.backbone.model.encoder.stages.1.layers.0")
    for i in range(1, 4):
        x = bottleneck(x, 512, name=f"model.backbone.model.encoder.stages.1.layers.{i}")
    x = bottleneck(x, 1024, strides=2, name="model.backbone.model.encoder.stages.2.layers.0")
    for i in range(1, 23):
        x = bottleneck(x, 1024, name=f"model.backbone.model.encoder.stages.2.layers.{i}")
    x = bottleneck(x, 2048, strides=2, name="model.backbone.model.encoder.stages.3.layers.0")
    x = bottleneck(x, 2048, name="model.backbone.model.encoder.stages.3.layers.1")
    x = bottleneck(x, 2048, name="model.backbone.model.encoder.stages.3.layers.2")
    x = conv_bn_act(x, 256, kernel_size=1, activation=None, name="model_input_projection")
    x = image_to_tokens(x)
    for i in range(6):
        x = transformer_encoder_layer(
            x, 8, num_positions=625, dropout=dropout, name=f"model.encoder.layers.{i}"
        )
    model_decoder_layers_0_self_attn_layer_norm = learned_tensor(
        inputs, (1, 100, 256), name="model_decoder_layers_0_self_attn_layer_norm"
    )
    model_decoder_layers_0_self_attn_layer_norm_0 = layers.LayerNormalization(
        epsilon=1e-05, name="model_decoder_layers_0_self_attn_layer_norm_0"
    )(model_decoder_layers_0_self_attn_layer_norm)
    model_decoder_layers_0_encoder_attn = position_embedding(
        x, 625, name="model_decoder_layers_0_encoder_attn"
    )
    model_decoder_layers_0 = transformer_decoder_layer(
        model_decoder_layers_0_self_attn_layer_norm_0,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        self_attention=False,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.0",
    )
    model_decoder_layers_1 = transformer_decoder_layer(
        model_decoder_layers_0,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.1",
    )
    model_decoder_layers_2 = transformer_decoder_layer(
        model_decoder_layers_1,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.2",
    )
    model_decoder_layers_3 = transformer_decoder_layer(
        model_decoder_layers_2,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.3",
    )
    model_decoder_layers_4 = transformer_decoder_layer(
        model_decoder_layers_3,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.4",
    )
    x = transformer_decoder_layer(
        model_decoder_layers_4,
        x,
        model_decoder_layers_0_encoder_attn,
        num_heads=8,
        num_positions=100,
        dropout=dropout,
        name="model.decoder.layers.5",
    )
    x = layers.LayerNormalization(epsilon=1e-05, name="model_decoder_layernorm")(x)
    if include_top:
        class_labels_classifier = layers.Dense(
            units=num_classes, use_bias=True, name="class_labels_classifier"
        )(x)
        x = box_predictor(x, 256, name="bbox_predictor")
        x = [
            layers.Identity(name="logits")(class_labels_classifier),
            layers.Identity(name="pred_boxes")(x),
        ]
    else:
        x = pooled(x, pooling)
    model = keras.Model(inputs, x, name=name)
    if not nested:
        model = flatten(model)
    if weights is not None:
        load_weights(
            model, weights, fresh=() if num_classes == 92 else ("class_labels_classifier",)
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
