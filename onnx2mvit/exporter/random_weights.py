"""Random weights that a wrong conversion cannot survive.

Fresh models will not do: zero biases and default statistics are alike everywhere (so swapped
ones go unnoticed), and small weights leave attention flat. Here no two tensors are equal, and
activations keep about unit variance, so that every part has a say in the logits.
"""

import torch
from torch import nn
from torch.nn import functional
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

# SiLU leaves 0.36 of a unit normal's second moment, a convolution after it makes up for that.
_CONV = 0.3557**-0.5
# Sharpens attention and spreads the logits.
_LINEAR = 1.3


def randomize(model: nn.Module, seed: int, channels: int = 3) -> None:
    """Redraw every parameter and buffer of `model`; the same `seed` gives the same weights."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                gain = _CONV if isinstance(module, nn.Conv2d) else _LINEAR
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, gain / fan_in**0.5, generator=generator)
                _draw_bias(module.bias, generator)
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm):
                module.weight.uniform_(0.8, 1.2, generator=generator)
                _draw_bias(module.bias, generator)
            elif isinstance(module, DetrFrozenBatchNorm2d):  # it has buffers alone
                module.weight.uniform_(0.8, 1.2, generator=generator)
                module.running_var.uniform_(0.7, 1.4, generator=generator)
                for tensor in (module.bias, module.running_mean):
                    _draw_bias(tensor, generator)
            else:  # class tokens, position embeddings
                for parameter in module.parameters(recurse=False):
                    parameter.normal_(0.0, 0.5, generator=generator)
        if norms:
            _measure(model, norms, _images(channels, generator))
        for norm in norms:
            _blur(norm, generator)


def _draw_bias(bias: torch.Tensor | None, generator: torch.Generator) -> None:
    if bias is not None:
        bias.normal_(0.0, 0.1, generator=generator)


def _images(channels: int, generator: torch.Generator) -> torch.Tensor:
    """Images in [0, 1], half of them smooth and half of them noise."""
    smooth = torch.rand(4, channels, 8, 8, generator=generator)
    noise = torch.rand(4, channels, 128, 128, generator=generator)
    return torch.cat([functional.interpolate(smooth, (128, 128), mode="bilinear"), noise])


def _measure(model: nn.Module, norms: list[nn.BatchNorm2d], images: torch.Tensor) -> None:
    """Gives `norms` the statistics of `images`, as training does.

    Drawn ones would let activations grow or die out from layer to layer.
    """
    model.train(False)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def _blur(norm: nn.BatchNorm2d, generator: torch.Generator) -> None:
    """Moves measured statistics a little, so that they cannot be had from the data again."""
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    # All three are None only in a BatchNorm without statistics, which none of these networks has.
    assert mean is not None and variance is not None and count is not None
    variance.clamp_(min=1e-2)
    mean.add_(0.2 * variance.sqrt() * torch.randn(mean.shape, generator=generator))
    variance.mul_(torch.empty_like(variance).uniform_(0.7, 1.4, generator=generator))
    count.random_(1, 1_000_000, generator=generator)
