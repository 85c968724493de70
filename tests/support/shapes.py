"""Images of shapes with their masks, and a network that is trained on them in a minute.

What it answers means something, so that how far two runtimes agree on it does as well.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import MobileViTConfig, MobileViTForSemanticSegmentation

Array = np.ndarray[Any, Any]
CLASSES = ("background", "disc", "square", "triangle")
SIZE = 64
CONFIG: dict[str, Any] = {
    "hidden_sizes": [24, 32, 40],
    "neck_hidden_sizes": [8, 8, 16, 24, 32, 40, 64],
    "expand_ratio": 2.0,
    "image_size": SIZE,
    "num_labels": len(CLASSES),
    "output_stride": 8,
    "atrous_rates": [2, 3, 4],
    "aspp_out_channels": 32,
}


def shapes(count: int, seed: int, size: int = SIZE) -> tuple[Array, Array]:
    """Images (count, size, size, 3) in [0, 1], noisy, and masks (count, size, size) of classes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    images, masks = [], []
    for _ in range(count):
        image = rng.uniform(0, 0.4, 3) + rng.normal(0, 0.05, (size, size, 3))
        mask = np.zeros((size, size), np.int64)
        for _ in range(3):
            kind = int(rng.integers(1, len(CLASSES)))
            row, column, radius = *rng.uniform(0.2, 0.8, 2), rng.uniform(0.12, 0.25)
            down, right = y - row, x - column
            inside = {
                1: np.hypot(down, right) < radius,
                2: np.maximum(abs(down), abs(right)) < radius,
                3: (down < radius) & (2 * abs(right) < down + radius),
            }[kind]
            image[inside] = rng.uniform(0.5, 1, 3) + rng.normal(0, 0.05, (inside.sum(), 3))
            mask[inside] = kind
        images.append(image.clip(0, 1).astype(np.float32))
        masks.append(mask)
    return np.stack(images), np.stack(masks)


def trained(steps: int = 300, batch: int = 16) -> MobileViTForSemanticSegmentation:
    """Hugging Face's MobileViT with DeepLabV3, small, trained on shapes."""
    torch.manual_seed(0)
    model = MobileViTForSemanticSegmentation(MobileViTConfig(**CONFIG))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    for step in range(steps):
        images, masks = shapes(batch, step)
        logits = model(pixel_values=torch.from_numpy(images).permute(0, 3, 1, 2)).logits
        loss = functional.cross_entropy(
            functional.interpolate(logits, (SIZE, SIZE), mode="bilinear"), torch.from_numpy(masks)
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    model.train(False)
    return model


def full_size(logits: Array) -> Array:
    """Masks of logits (count, height, width, classes), interpolated to the size of the images."""
    tensor = torch.from_numpy(np.ascontiguousarray(logits.transpose(0, 3, 1, 2)))
    large = functional.interpolate(tensor, (SIZE, SIZE), mode="bilinear")
    return large.argmax(1).numpy()
