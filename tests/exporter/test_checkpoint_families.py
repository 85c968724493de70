"""Checkpoints of the other networks: MobileViTv2's by Apple's names, any by transformers' own."""

from pathlib import Path

import pytest
import torch

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.exporter.checkpoint import apple_key
from tests.exporter.test_checkpoint import save, weights

pytestmark = pytest.mark.xdist_group("checkpoint")

# Of apple/ml-cvnets' MobileViTv2, beside what transformers calls the same.
APPLE_V2 = {
    "mobilevitv2.conv_stem.convolution.weight": "conv_1.block.conv.weight",
    "mobilevitv2.encoder.layer.0.layer.0.expand_1x1.normalization.bias": (
        "layer_1.0.block.exp_1x1.block.norm.bias"
    ),
    "mobilevitv2.encoder.layer.2.downsampling_layer.reduce_1x1.normalization.running_var": (
        "layer_3.0.block.red_1x1.block.norm.running_var"
    ),
    "mobilevitv2.encoder.layer.2.conv_kxk.normalization.num_batches_tracked": (
        "layer_3.1.local_rep.0.block.norm.num_batches_tracked"
    ),
    "mobilevitv2.encoder.layer.2.conv_1x1.convolution.weight": (
        "layer_3.1.local_rep.1.block.conv.weight"
    ),
    "mobilevitv2.encoder.layer.2.transformer.layer.0.layernorm_before.weight": (
        "layer_3.1.global_rep.0.pre_norm_attn.0.weight"
    ),
    "mobilevitv2.encoder.layer.3.transformer.layer.3.attention.qkv_proj.convolution.bias": (
        "layer_4.1.global_rep.3.pre_norm_attn.1.qkv_proj.block.conv.bias"
    ),
    "mobilevitv2.encoder.layer.4.transformer.layer.2.attention.out_proj.convolution.weight": (
        "layer_5.1.global_rep.2.pre_norm_attn.1.out_proj.block.conv.weight"
    ),
    "mobilevitv2.encoder.layer.2.transformer.layer.1.layernorm_after.bias": (
        "layer_3.1.global_rep.1.pre_norm_ffn.0.bias"
    ),
    "mobilevitv2.encoder.layer.2.transformer.layer.1.ffn.conv1.convolution.weight": (
        "layer_3.1.global_rep.1.pre_norm_ffn.1.block.conv.weight"
    ),
    "mobilevitv2.encoder.layer.2.transformer.layer.1.ffn.conv2.convolution.weight": (
        "layer_3.1.global_rep.1.pre_norm_ffn.3.block.conv.weight"
    ),
    "mobilevitv2.encoder.layer.3.layernorm.weight": "layer_4.1.global_rep.4.weight",
    "mobilevitv2.encoder.layer.4.conv_projection.convolution.weight": (
        "layer_5.1.conv_proj.block.conv.weight"
    ),
    "classifier.weight": "classifier.1.weight",
}


@pytest.mark.parametrize("name", APPLE_V2)
def test_a_tensor_of_v2_by_apples_name(name: str) -> None:
    assert apple_key(name, "mobilevitv2") == APPLE_V2[name]


def test_every_tensor_of_v2_comes_back_from_apples_names(tmp_path: Path) -> None:
    own = weights("mobilevitv2_050", "random", seed=3, num_labels=5)
    apple = {apple_key(name, "mobilevitv2"): tensor.clone() for name, tensor in own.items()}
    assert len(apple) == len(own) and APPLE_V2.keys() <= own.keys()
    assert set(APPLE_V2.values()) <= apple.keys()
    loaded = weights("mobilevitv2_050", save(apple, tmp_path))
    assert all(torch.equal(loaded[name], own[name]) for name in own)


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilenet_v2_035", "resnet_18"])
def test_every_tensor_comes_back_from_its_own_names(name: str, tmp_path: Path) -> None:
    own = weights(name, "random", seed=3, num_labels=5)
    loaded = weights(name, save(own, tmp_path), num_labels=5)
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)


def test_a_checkpoint_of_another_code_base_is_refused(tmp_path: Path) -> None:
    path = save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, tmp_path)
    with pytest.raises(InvalidModelError, match=r"not one tensor of the model.*ResNetForImage"):
        weights("resnet_18", path)
