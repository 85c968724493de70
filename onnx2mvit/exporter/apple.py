"""Fetches checkpoints by their address, those of Apple's ml-cvnets by the name of the network.

https://github.com/apple/ml-cvnets/blob/main/docs/source/en/general/README-model-zoo.md
"""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import torch

from onnx2mvit.base.hub import HubError
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.errors import UsageError

MODELS = "https://docs-assets.developer.apple.com/ml-research/models"
_SECONDS = 10.0


def address(name: str) -> str:
    """Where Apple publishes the checkpoint of a network, trained on ImageNet-1k at 256².

    Raises:
        UsageError: it is none of MobileViT's, or MobileViTv2's.
    """
    if re.fullmatch("mobilevit_(xxs|xs|s)", name):
        return f"{MODELS}/cvnets/classification/{name}.pt"
    if match := re.fullmatch(r"mobilevitv2_(\d{3})", name):
        folder = f"{MODELS}/cvnets-v2/classification/mobilevitv2/imagenet1k/256x256"
        return f"{folder}/mobilevitv2-{int(match.group(1)) / 100}.pt"
    raise UsageError(
        f"--weights apple: Apple has no {name}, but mobilevit_xxs, mobilevit_xs, mobilevit_s and "
        "mobilevitv2_050 to mobilevitv2_200"
    )


def fetch(url: str) -> Path:
    """Download a checkpoint, unless it lies in torch's cache already.

    Raises:
        HubError: nothing answers there, or it has no such file.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # torch waits as long as it takes for a server that is not there.
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS):
            pass
        with quiet():
            torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, ValueError) as error:
        raise HubError(f"{url} cannot be fetched: {one_line(error)}") from error
    return path
