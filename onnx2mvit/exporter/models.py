"""The models by name, and where their weights come from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.exporter import hub
from onnx2mvit.exporter.checkpoint import classes_in, load_checkpoint, read_checkpoint
from onnx2mvit.exporter.preprocessing import published
from onnx2mvit.exporter.random_weights import randomize
from onnx2mvit.exporter.variants import VARIANTS
from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode, where its weights come from, and what it wants of photographs."""

    model: PreTrainedModel
    weights: str
    preprocessing: Preprocessing = ASSUMED


def own_size(model: PreTrainedModel) -> tuple[int, int]:
    """Height and width that a network was made for; 224 where its configuration has none."""
    size = getattr(model.config, "image_size", None)
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (size, size) if isinstance(size, int) else (224, 224)


def load(
    name: str,
    weights: str,
    *,
    seed: int,
    num_labels: int | None,
    warn: Callable[[str], object],
) -> Loaded:
    """Make the model `name` with `weights`, which are as in `onnx2mvit.exporter.export`."""
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
        except hub.HubError as error:
            if name not in VARIANTS:
                raise
            if weights == "hub":
                raise hub.HubError(
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


def _random(name: str, seed: int, num_labels: int | None) -> Loaded:
    model = _build(name, num_labels)
    randomize(model, seed)
    return Loaded(model, f"random (seed {seed})", published(name))


def _from_file(name: str, path: Path, num_labels: int | None) -> Loaded:
    if not path.is_file():
        raise UsageError(f"--weights {path}: neither hub, random or auto, nor a file")
    state = read_checkpoint(path)
    # A fine-tuned checkpoint knows how many labels it has.
    model = _build(name, num_labels if num_labels is not None else classes_in(state))
    load_checkpoint(model, state, path.name)
    return Loaded(model, f"checkpoint {path.name}", published(name))


def _build(name: str, num_labels: int | None) -> PreTrainedModel:
    config: PreTrainedConfig
    if name in VARIANTS:
        config, classifier = VARIANTS[name].config(), VARIANTS[name].classifier
    else:
        try:
            config, classifier = hub.read_config(name)
        except hub.HubError as error:
            raise hub.HubError(f"{error}; without it, the model's shape is unknown") from error
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
