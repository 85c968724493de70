"""Networks of transformers, from the Hugging Face hub, its local cache, or a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from transformers import PreTrainedConfig, PreTrainedModel

from onnx2mvit.base.hub import from_cache_or_hub
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, Onnx2mvitError, UnsupportedError
from onnx2mvit.exporter.variants import CLASSIFIERS
from onnx2mvit.ir.preprocessing import Preprocessing
from onnx2mvit.reader.preprocessing import read_preprocessing as read_preprocessing_of


def read_config(repository: str) -> tuple[PreTrainedConfig, type[PreTrainedModel]]:
    """The configuration of a network that classifies images or pixels, and its class.

    Raises:
        HubError: there is none to be had.
        UnsupportedError: it is another kind of model.
    """

    def read(cached: bool) -> object:
        return PreTrainedConfig.get_config_dict(repository, local_files_only=cached)[0]

    fields = from_cache_or_hub(read, repository)
    family = fields.get("model_type") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or family not in CLASSIFIERS:
        raise UnsupportedError(
            f"{repository} is a {family or 'unknown'} model, not one of {', '.join(CLASSIFIERS)}"
        )
    architectures = fields.get("architectures") or []
    known = {classifier.__name__: classifier for classifier in CLASSIFIERS[family]}
    if len(architectures) != 1 or architectures[0] not in known:
        raise UnsupportedError(
            f"{repository} classifies neither images nor pixels: its architectures are "
            f"{architectures}"
        )
    classifier = known[architectures[0]]
    make = classifier.config_class
    assert make is not None
    try:
        return make(**fields), classifier
    except (TypeError, ValueError) as error:
        raise UnsupportedError(
            f"{repository} has an unusable configuration: {one_line(error)}"
        ) from error


def read_model(repository: str, classifier: type[PreTrainedModel]) -> PreTrainedModel:
    """The published model.

    Raises:
        HubError: it is not to be had.
        InvalidModelError: its weights are incomplete.
    """

    def read(cached: bool) -> tuple[object, object]:
        # Its type does not say that it returns two things when it is asked for both.
        load: Callable[..., Any] = classifier.from_pretrained
        model, info = load(repository, local_files_only=cached, output_loading_info=True)
        return model, info

    # Where a repository has only pickled weights, transformers asks a service on the hub to
    # convert them, from a thread of its own; an export has no business doing that.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    model, info = from_cache_or_hub(read, repository)
    assert isinstance(model, PreTrainedModel)
    missing = sorted(info.get("missing_keys", ())) if isinstance(info, dict) else []
    if missing:
        raise InvalidModelError(
            f"{repository} lacks {len(missing)} weights: {', '.join(missing[:20])}"
        )
    return model


def read_preprocessing(repository: str) -> Preprocessing | None:
    """What a repository, or a folder on this machine, says of preprocessing, if it does."""
    name = "preprocessor_config.json"

    def read(cached: bool) -> str:
        return hf_hub_download(repository, name, local_files_only=cached)

    try:
        if Path(repository).is_dir():
            return read_preprocessing_of(Path(repository) / name)
        return read_preprocessing_of(from_cache_or_hub(read, repository))
    except Onnx2mvitError:  # there is none, or it says nothing that we know
        return None
