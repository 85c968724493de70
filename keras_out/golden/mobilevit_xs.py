"""mobilevit_xs, lifted from mobilevit_xs.onnx by onnx2mvit 0.1.0.

Source: mobilevit_xs.onnx, opset 20, pytorch 2.13.0+cpu
SHA-256: 895b446a26a302a065085d6a7ddd74347f02743d98e2bcbbea79f5289dd06e27
Weights: random (seed 0); by layer path in mobilevit_xs.safetensors
"""

import keras
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
        x = layers.ZeroPadding2D(
            dilation * ((kernel_size - 1) // 2), name=f"{name}_pad"
        )(x)
        padding = "valid"
    steps = {
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding or "same",
    }
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
    x,
    filters,
    expansion,
    strides=1,
    kernel_size=3,
    dilation=1,
    activation="silu",
    *,
    name,
    **conv,
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


def unfold(x, patch_size):
    """(B, H, W, d) → (B·P, N, d): one sequence for each of the P pixels of a patch."""
    _, height, width, dim = x.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    whole = (rows * patch_size, columns * patch_size)
    if whole != (height, width):
        # Patches must fill the image: it is stretched here, and shrunk after fold.
        x = ops.image.resize(x, whole, interpolation="bilinear")
    x = ops.reshape(x, (-1, rows, patch_size, columns, patch_size, dim))
    x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
    return ops.reshape(x, (-1, rows * columns, dim))


def transformer_layer(
    x,
    num_heads,
    mlp_ratio=2,
    activation="silu",
    attention_bias=True,
    epsilon=1e-5,
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
    x1 = layers.Add(name="add_attention")([inputs, y])
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm_after")(x1)
    y = layers.Dense(round(dim * mlp_ratio), name="intermediate_dense")(y)
    if activation:
        y = layers.Activation(activation, name="intermediate_intermediate_act_fn")(y)
    y = layers.Dense(dim, name="output_dense")(y)
    y = layers.Add(name="add_mlp")([x1, y])
    return keras.Model(inputs, y, name=name)(x)


def fold(x, image, patch_size):
    """(B·P, N, d) → (B, H, W, d) with the size of `image`: the inverse of unfold."""
    _, height, width, _ = image.shape
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    x = ops.reshape(x, (-1, patch_size, patch_size, rows, columns, x.shape[-1]))
    x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
    x = ops.reshape(x, (-1, rows * patch_size, columns * patch_size, x.shape[-1]))
    if x.shape[1:3] != (height, width):
        x = ops.image.resize(x, (height, width), interpolation="bilinear")
    return x


def mobilevit_block(
    x,
    filters,
    dim,
    depth,
    num_heads,
    patch_size,
    mlp_ratio=2,
    kernel_size=3,
    fusion=True,
    activation="silu",
    attention_bias=True,
    epsilon=1e-5,
    *,
    name,
    **conv,
):
    """Local convolutions, a transformer over unfolded patches, and fusion with the input."""
    inputs = keras.Input(x.shape[1:])
    conv["activation"] = activation
    y = conv_bn_act(inputs, inputs.shape[-1], kernel_size, name="conv_kxk", **conv)
    y = conv_bn_act(
        y, dim, 1, activation=None, batch_norm=False, use_bias=False, name="conv_1x1"
    )
    image = y
    y = unfold(image, patch_size)
    for i in range(depth):
        y = transformer_layer(
            y,
            num_heads,
            mlp_ratio=mlp_ratio,
            activation=activation,
            attention_bias=attention_bias,
            epsilon=epsilon,
            name=f"transformer.layer.{i}",
        )
    y = layers.LayerNormalization(epsilon=epsilon, name="layernorm")(y)
    y = fold(y, image, patch_size)
    y = conv_bn_act(y, filters, 1, name="conv_projection", **conv)
    if fusion:
        y = layers.Concatenate(name="concat")([inputs, y])
        y = conv_bn_act(y, filters, kernel_size, name="fusion", **conv)
    return keras.Model(inputs, y, name=name)(x)


def classifier(x, num_classes, use_bias=True, *, name):
    """Global average pooling and a linear layer that answers with logits."""
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return layers.Dense(num_classes, use_bias=use_bias, name=name)(x)


def mobilevit_xs(input_shape=(256, 256, 3), num_classes=1000, name="mobilevit_xs"):
    """From images (batch, height, width, channels) to logits.

    The weights fit any `input_shape` (height, width, channels).
    """
    inputs = keras.Input(input_shape, name="pixel_values")
    x = conv_bn_act(inputs, 16, kernel_size=3, strides=2, name="conv_stem")
    x = inverted_residual(x, 32, expansion=4, name="encoder.layer.0.layer.0")
    x = inverted_residual(x, 48, expansion=4, strides=2, name="encoder.layer.1.layer.0")
    x = inverted_residual(x, 48, expansion=4, name="encoder.layer.1.layer.1")
    x = inverted_residual(x, 48, expansion=4, name="encoder.layer.1.layer.2")
    x = inverted_residual(
        x, 64, expansion=4, strides=2, name="encoder.layer.2.downsampling_layer"
    )
    x = mobilevit_block(
        x, 64, dim=96, depth=2, num_heads=4, patch_size=2, name="encoder.layer.2"
    )
    x = inverted_residual(
        x, 80, expansion=4, strides=2, name="encoder.layer.3.downsampling_layer"
    )
    x = mobilevit_block(
        x, 80, dim=120, depth=4, num_heads=4, patch_size=2, name="encoder.layer.3"
    )
    x = inverted_residual(
        x, 96, expansion=4, strides=2, name="encoder.layer.4.downsampling_layer"
    )
    x = mobilevit_block(
        x, 96, dim=144, depth=3, num_heads=4, patch_size=2, name="encoder.layer.4"
    )
    x = conv_bn_act(x, 384, kernel_size=1, name="conv_1x1_exp")
    x = classifier(x, num_classes, name="classifier")
    return keras.Model(inputs, x, name=name)
