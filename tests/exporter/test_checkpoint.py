"""Apple's checkpoints: every tensor in its place, and a clear word on those that do not fit."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from onnx2mvit.errors import InvalidModelError, UsageError
from onnx2mvit.exporter.models import load, network_of

pytestmark = pytest.mark.xdist_group("checkpoint")  # its fixtures are slow to make

State = dict[str, Any]


def warn(message: str) -> None:
    raise AssertionError(message)


def pairs() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Spell out Apple's modules, each with those of transformers that it is made of."""
    yield "conv_1.block", ("mobilevit.conv_stem",)
    for stage, blocks in ((1, 1), (2, 3)):
        for block in range(blocks):
            source = f"mobilevit.encoder.layer.{stage - 1}.layer.{block}"
            yield from residual(f"layer_{stage}.{block}.block", source)
    for stage, layers in ((3, 2), (4, 4), (5, 3)):
        source = f"mobilevit.encoder.layer.{stage - 1}"
        yield from residual(f"layer_{stage}.0.block", f"{source}.downsampling_layer")
        target = f"layer_{stage}.1"
        yield f"{target}.local_rep.conv_3x3.block", (f"{source}.conv_kxk",)
        yield f"{target}.local_rep.conv_1x1.block", (f"{source}.conv_1x1",)
        for layer in range(layers):
            here, there = f"{target}.global_rep.{layer}", f"{source}.transformer.layer.{layer}"
            attention = f"{there}.attention.attention"
            yield f"{here}.pre_norm_mha.0", (f"{there}.layernorm_before",)
            yield (
                f"{here}.pre_norm_mha.1.qkv_proj",
                (f"{attention}.query", f"{attention}.key", f"{attention}.value"),
            )
            yield f"{here}.pre_norm_mha.1.out_proj", (f"{there}.attention.output.dense",)
            yield f"{here}.pre_norm_ffn.0", (f"{there}.layernorm_after",)
            yield f"{here}.pre_norm_ffn.1", (f"{there}.intermediate.dense",)
            yield f"{here}.pre_norm_ffn.4", (f"{there}.output.dense",)
        yield f"{target}.global_rep.{layers}", (f"{source}.layernorm",)
        yield f"{target}.conv_proj.block", (f"{source}.conv_projection",)
        yield f"{target}.fusion.block", (f"{source}.fusion",)
    yield "conv_1x1_exp.block", ("mobilevit.conv_1x1_exp",)
    yield "classifier.fc", ("classifier",)


def residual(target: str, source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield f"{target}.exp_1x1.block", (f"{source}.expand_1x1",)
    yield f"{target}.conv_3x3.block", (f"{source}.conv_3x3",)
    yield f"{target}.red_1x1.block", (f"{source}.reduce_1x1",)


def as_apple(state: State) -> State:
    """Write the weights of transformers as a checkpoint of Apple."""
    inside = {"conv": "convolution", "norm": "normalization"}
    leaves: dict[str, tuple[str, ...]] = {"": ("weight", "bias")}
    leaves["conv."] = ("weight",)
    leaves["norm."] = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    apple: State = {}
    for target, sources in pairs():
        for prefix, names in leaves.items():
            part = f"{inside[prefix[:-1]]}." if prefix else ""
            for name in names:
                tensors = [state.get(f"{source}.{part}{name}") for source in sources]
                found = [tensor for tensor in tensors if tensor is not None]
                if found:
                    merged = found[0] if len(found) == 1 else torch.cat(found)
                    apple[f"{target}.{prefix}{name}"] = merged.clone()
    return apple


def weights(name: str, source: str, *, seed: int = 0, num_labels: int | None = None) -> State:
    model = load(name, source, seed=seed, num_labels=num_labels, warn=warn).model
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def random() -> State:
    return weights("mobilevit_xxs", "random", seed=3)


@pytest.fixture
def apple(random: State) -> State:
    return as_apple(random)


def save(state: object, folder: Path) -> str:
    path = folder / "mobilevit_xxs.pt"
    torch.save(state, path)
    return str(path)


def refusal(state: object, folder: Path) -> str:
    with pytest.raises(InvalidModelError) as caught:
        weights("mobilevit_xxs", save(state, folder))
    return str(caught.value)


def test_every_tensor_comes_back(apple: State, random: State, tmp_path: Path) -> None:
    assert len(apple) == 311
    assert apple["layer_4.1.global_rep.2.pre_norm_mha.1.qkv_proj.weight"].shape == (240, 80)
    path = save(apple, tmp_path)
    assert network_of(Path(path)) == "mobilevit_xxs"
    loaded = weights("mobilevit_xxs", path)
    assert loaded.keys() == random.keys()
    assert all(torch.equal(loaded[name], random[name]) for name in random)


@pytest.mark.parametrize(
    "name", ["mobilevit_xs", pytest.param("mobilevit_s", marks=pytest.mark.slow)]
)
def test_other_sizes_have_the_same_keys(name: str, apple: State, tmp_path: Path) -> None:
    source = weights(name, "random")
    state = as_apple(source)
    assert state.keys() == apple.keys()
    loaded = weights(name, save(state, tmp_path))
    assert all(torch.equal(loaded[key], source[key]) for key in source)


def test_labels_are_counted_from_the_file(tmp_path: Path) -> None:
    state = as_apple(weights("mobilevit_xxs", "random", num_labels=7))
    path = save(state, tmp_path)
    assert weights("mobilevit_xxs", path)["classifier.weight"].shape == (7, 320)
    with pytest.raises(InvalidModelError, match=r"2 of another shape \(classifier.fc.weight \(7,"):
        weights("mobilevit_xxs", path, num_labels=8)


def test_missing_and_unexpected_keys_are_named(apple: State, tmp_path: Path) -> None:
    key = "layer_5.1.global_rep.3.weight"
    apple["layer_5.1.global_rep.9.weight"] = apple.pop(key)
    message = refusal(apple, tmp_path)
    assert "mobilevit_xxs.pt does not fit" in message
    assert f"1 missing ({key})" in message
    assert "1 unexpected (layer_5.1.global_rep.9.weight)" in message


def test_shapes_are_named(apple: State, tmp_path: Path) -> None:
    key = "layer_3.1.global_rep.0.pre_norm_mha.1.qkv_proj.bias"
    apple[key] = apple[key][:-1]
    assert f"1 of another shape ({key} (191,) instead of (192,))" in refusal(apple, tmp_path)


def test_long_lists_are_cut(apple: State, tmp_path: Path) -> None:
    renamed = {f"module.{key}": value for key, value in apple.items()}
    message = refusal(renamed, tmp_path)
    assert "311 missing" in message and "311 unexpected" in message
    assert message.count("module.") == 20


def test_wrong_size_of_model(apple: State, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="of another shape"):
        weights("mobilevit_xs", save(apple, tmp_path))


def test_nested_checkpoint(apple: State, tmp_path: Path) -> None:
    assert "not a flat state_dict: 'model' is a dict" in refusal({"model": apple}, tmp_path)
    assert "no state_dict" in refusal(torch.zeros(3), tmp_path)


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    assert "is no checkpoint of torch, or holds more" in refusal({"a": Intruder(touched)}, tmp_path)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Intruder(touched)))
    assert touched.exists(), "the intruder is harmless, so this test shows nothing"


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "notes.pt"
    for content in (b"", b"no checkpoint", b"PK\x03\x04 neither"):
        path.write_bytes(content)
        with pytest.raises(
            InvalidModelError, match=r"notes\.pt (is no|cannot be read as a) checkpoint"
        ):
            weights("mobilevit_xxs", str(path))
    with pytest.raises(UsageError, match="none of hub, apple, pip, auto, random, nor a file"):
        weights("mobilevit_xxs", str(tmp_path / "absent.pt"))
