"""Reads checkpoints, transformers' own and Apple's ml-cvnets', into the models of transformers."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from onnx2mvit.base.user_files import reading
from onnx2mvit.errors import InvalidModelError

# From a key of transformers to Apple's: every row is applied, in this order. In this direction
# the model itself says which keys a checkpoint must have.
_CONVOLUTIONS = (
    (r"^mobilevit(v2)?\.", ""),
    *((rf"^encoder\.layer\.{number}\.", f"layer_{number + 1}.") for number in range(5)),
    # Inverted residuals: layers 1 and 2 are nothing else, layers 3 to 5 begin with one.
    (r"^(layer_[12])\.layer\.(\d+)\.", r"\1.\2.block."),
    (r"^(layer_[345])\.downsampling_layer\.", r"\1.0.block."),
    (r"\.block\.expand_1x1\.", ".block.exp_1x1.block."),
    (r"\.block\.conv_3x3\.", ".block.conv_3x3.block."),
    (r"\.block\.reduce_1x1\.", ".block.red_1x1.block."),
    (r"^(layer_[345])\.(?!0\.block\.)", r"\1.1."),
    # MobileViT blocks. The last norm counts on from the transformer layers.
    *(
        (rf"^layer_{stage}\.1\.layernorm\.", f"layer_{stage}.1.global_rep.{depth}.")
        for stage, depth in ((3, 2), (4, 4), (5, 3))
    ),
    (r"\.1\.conv_projection\.", ".1.conv_proj.block."),
    (r"\.transformer\.layer\.(\d+)\.", r".global_rep.\1."),
    # Stem, and what is in every convolution.
    (r"^conv_stem\.", "conv_1.block."),
    (r"^conv_1x1_exp\.", "conv_1x1_exp.block."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".norm."),
)
APPLE_KEYS = {
    "mobilevit": (
        *_CONVOLUTIONS,
        (r"\.1\.conv_kxk\.", ".1.local_rep.conv_3x3.block."),
        (r"\.1\.conv_1x1\.", ".1.local_rep.conv_1x1.block."),
        (r"\.1\.fusion\.", ".1.fusion.block."),
        (r"\.layernorm_before\.", ".pre_norm_mha.0."),
        (r"\.attention\.attention\.(query|key|value)\.", ".pre_norm_mha.1.qkv_proj."),
        (r"\.attention\.output\.dense\.", ".pre_norm_mha.1.out_proj."),
        (r"\.layernorm_after\.", ".pre_norm_ffn.0."),
        (r"\.intermediate\.dense\.", ".pre_norm_ffn.1."),
        (r"\.output\.dense\.", ".pre_norm_ffn.4."),
        (r"^classifier\.", "classifier.fc."),
    ),
    "mobilevitv2": (
        *_CONVOLUTIONS,
        (r"\.1\.conv_kxk\.", ".1.local_rep.0.block."),
        (r"\.1\.conv_1x1\.", ".1.local_rep.1.block."),
        (r"\.layernorm_before\.", ".pre_norm_attn.0."),
        (r"\.attention\.(qkv_proj|out_proj)\.", r".pre_norm_attn.1.\1.block."),
        (r"\.layernorm_after\.", ".pre_norm_ffn.0."),
        (r"\.ffn\.conv1\.", ".pre_norm_ffn.1.block."),
        (r"\.ffn\.conv2\.", ".pre_norm_ffn.3.block."),
        (r"^classifier\.", "classifier.1."),
    ),
}

_THIRDS = ("query", "key", "value")
_LISTED = 20


def apple_key(name: str, family: str) -> str:
    """What a checkpoint of Apple calls the tensor `name` of a model of transformers."""
    for pattern, replacement in APPLE_KEYS[family]:
        name = re.sub(pattern, replacement, name)
    return name


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Reads a flat state_dict, without running any code that the file may hold.

    Raises:
        InvalidModelError: the file holds something else.
    """
    with reading(path, "a checkpoint of torch"):
        try:
            content: object = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # torch advises to run whatever is in it
            raise InvalidModelError(
                f"{path} is no checkpoint of torch, or holds more than tensors: save a state_dict"
            ) from error
    if not isinstance(content, Mapping) or not content:
        raise InvalidModelError(f"{path.name} holds no state_dict (a mapping of names to tensors)")
    state: dict[str, torch.Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise InvalidModelError(
                f"{path.name} is not a flat state_dict: {key!r} is a {type(value).__name__}"
            )
        state[key] = value
    return state


def classes_in(state: Mapping[str, torch.Tensor]) -> int | None:
    """How many labels the head of a checkpoint has, by the names that heads go by."""
    heads = {"classifier.fc.weight": 2, "classifier.1.weight": 2, "classifier.weight": 2}
    heads["_fc.weight"] = 2  # EfficientNet-Lite
    heads["segmentation_head.classifier.convolution.weight"] = 4
    for name, rank in heads.items():
        head = state.get(name)
        if head is not None and head.ndim == rank:
            return int(head.shape[0])
    return None


def load_checkpoint(model: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Puts the tensors of `state` into a model.

    They are named as in the model itself, or as Apple's ml-cvnets names those of transformers'
    MobileViT and MobileViTv2.

    Raises:
        InvalidModelError: keys are missing or left over, or shapes differ; it lists them.
    """
    places = _places(model, state)
    if _family(model) not in APPLE_KEYS and not places.keys() & state.keys():
        raise InvalidModelError(
            f"{source} has not one tensor of the model: its keys must be those of "
            f"{type(model).__name__} (ml-cvnets' own are known for {', '.join(APPLE_KEYS)})"
        )
    if problems := misfits(model, state):
        parts = [_listing(kind, names) for kind, names in problems.items()]
        raise InvalidModelError(f"{source} does not fit the model: {'; '.join(parts)}")
    loaded: dict[str, torch.Tensor] = {}
    for name, (key, third) in places.items():
        loaded[name] = state[key] if third is None else state[key].chunk(3)[third]
    model.load_state_dict(loaded)


def misfits(model: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """What is missing in a checkpoint of a model, left over, or of another shape, if anything."""
    shapes: dict[str, tuple[int, ...]] = {}
    places = _places(model, state)
    for name, tensor in model.state_dict().items():
        key, third = places[name]
        shape = tuple(tensor.shape)
        shapes[key] = shape if third is None else (3 * shape[0], *shape[1:])
    problems = {
        "missing": [key for key in shapes if key not in state],
        "unexpected": [key for key in state if key not in shapes],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {shape}"
            for key, shape in shapes.items()
            if key in state and tuple(state[key].shape) != shape
        ],
    }
    return {kind: names for kind, names in problems.items() if names}


def _places(
    model: nn.Module, state: Mapping[str, torch.Tensor]
) -> dict[str, tuple[str, int | None]]:
    """Where each tensor of a model is in a checkpoint: its key, and which third of that."""
    family, names = _family(model), list(model.state_dict())
    if family not in APPLE_KEYS or state.keys() & set(names):
        return {name: (name, None) for name in names}
    return {name: (apple_key(name, family), _third(name)) for name in names}


def _family(model: nn.Module) -> str:
    return str(getattr(getattr(model, "config", None), "model_type", ""))


def _third(name: str) -> int | None:
    """Which third of qkv_proj `name` is, if it is one."""
    match = re.search(r"\.attention\.attention\.(query|key|value)\.", name)
    return None if match is None else _THIRDS.index(match.group(1))


def _listing(kind: str, keys: list[str]) -> str:
    more = ", ..." if len(keys) > _LISTED else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:_LISTED])}{more})"
