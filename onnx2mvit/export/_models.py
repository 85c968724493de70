"""The models by name, and where their weights come from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import MobileViTConfig, MobileViTForImageClassification

from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.export import _hub
from onnx2mvit.export._checkpoint import load_checkpoint, read_checkpoint
from onnx2mvit.export._random import randomize
from onnx2mvit.quiet import one_line


@dataclass(frozen=True)
class Variant:
    """One of the published sizes of MobileViT."""

    repository: str
    hidden: tuple[int, ...]
    neck: tuple[int, ...]
    expansion: float

    def config(self) -> MobileViTConfig:
        """Return its configuration, which thus needs no hub."""
        config = MobileViTConfig(
            hidden_sizes=list(self.hidden),
            neck_hidden_sizes=list(self.neck),
            expand_ratio=self.expansion,
        )
        config.num_labels = 1000
        return config


VARIANTS = {
    "mobilevit_xxs": Variant(
        "apple/mobilevit-xx-small", (64, 80, 96), (16, 16, 24, 48, 64, 80, 320), 2.0
    ),
    "mobilevit_xs": Variant(
        "apple/mobilevit-x-small", (96, 120, 144), (16, 32, 48, 64, 80, 96, 384), 4.0
    ),
    "mobilevit_s": Variant(
        "apple/mobilevit-small", (144, 192, 240), (16, 32, 64, 96, 128, 160, 640), 4.0
    ),
}


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode, and where its weights come from."""

    model: MobileViTForImageClassification
    weights: str


def load(
    name: str,
    weights: str,
    *,
    seed: int,
    num_labels: int | None,
    warn: Callable[[str], object],
) -> Loaded:
    """Make the model `name` with `weights`, which are as in `onnx2mvit.export.export`."""
    if name not in VARIANTS and "/" not in name:
        raise UsageError(
            f"unknown model {name!r}: choose one of {', '.join(VARIANTS)}, "
            "or a Hugging Face repository (owner/name)"
        )
    if weights in ("hub", "auto"):
        if num_labels is not None:
            raise UsageError("published weights have their own labels: use --weights random")
        try:
            return _published(name)
        except _hub.HubError as error:
            if name not in VARIANTS:
                raise
            if weights == "hub":
                raise _hub.HubError(
                    f"{error}; use --weights random for seeded random weights, "
                    "or --weights auto to fall back to them"
                ) from error
            warn(f"{error}; RANDOM WEIGHTS (seed {seed}) are used: the logits mean nothing")
            return _random(name, seed, None)
    if weights == "random":
        return _random(name, seed, num_labels)
    return _from_file(name, Path(weights), num_labels)


def _published(name: str) -> Loaded:
    repository = VARIANTS[name].repository if name in VARIANTS else name
    # Asked first, since loading another kind of model would only fill it with random weights.
    if name not in VARIANTS:
        _hub.read_config(repository)
    model = _hub.read_model(repository)
    model.train(False)
    folder = Path(repository)
    # Of a folder on this machine, the file's metadata give no more than the name.
    source = f"folder {folder.name}" if folder.is_dir() else f"hub {repository}"
    return Loaded(model, source)


def _random(name: str, seed: int, num_labels: int | None) -> Loaded:
    model = _build(name, num_labels)
    randomize(model, seed)
    return Loaded(model, f"random (seed {seed})")


def _from_file(name: str, path: Path, num_labels: int | None) -> Loaded:
    if not path.is_file():
        raise UsageError(f"--weights {path}: neither hub, random or auto, nor a file")
    state = read_checkpoint(path)
    head = state.get("classifier.fc.weight")
    # A fine-tuned checkpoint knows how many labels it has.
    if num_labels is None and head is not None and head.ndim == 2:
        num_labels = head.shape[0]
    model = _build(name, num_labels)
    load_checkpoint(model, state, path.name)
    return Loaded(model, f"checkpoint {path.name}")


def _build(name: str, num_labels: int | None) -> MobileViTForImageClassification:
    if name in VARIANTS:
        config = VARIANTS[name].config()
    else:
        try:
            config = _hub.read_config(name)
        except _hub.HubError as error:
            raise _hub.HubError(f"{error}; without it, the model's shape is unknown") from error
    if num_labels is not None:
        config.num_labels = num_labels
    try:
        # All weights are about to be replaced, so the caller's random state stays as it is.
        with torch.random.fork_rng(devices=[]):
            model = MobileViTForImageClassification(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnsupportedError(f"{name} cannot be built: {one_line(error)}") from error
    model.train(False)
    return model
