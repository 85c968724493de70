"""torch's nn.MultiheadAttention as both exporters write it, alone and in transformer layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onnx2mvit
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from tests.support.networks import assert_answers_alike, exported
from tests.support.texts import every
from tests.support.torch_vit import randomize

DIM, SIZE = 16, (16, 32)
LEGACY, ONE_IMAGE = Request("legacy", 17, True, True), Request("legacy", 17, True, False)


class Attentions(nn.Module):
    """Each use of nn.MultiheadAttention once: of itself, DETR's, of others, causal, of queries.

    DETR's positions come after LayerScale, and the queries are learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, DIM, 8, 8)
        self.positions = nn.Parameter(torch.randn(1, 8, DIM))
        self.memory = nn.Linear(DIM, 6)
        self.batch_first = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.sequence_first = nn.MultiheadAttention(DIM, 4)
        self.detr = nn.MultiheadAttention(DIM, 2, bias=False)
        self.others = nn.MultiheadAttention(DIM, 2, kdim=6, vdim=6, batch_first=True)
        self.causal = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.scale = nn.Parameter(torch.rand(DIM))
        self.queries = nn.Parameter(torch.randn(1, 4, DIM))
        self.norm = nn.LayerNorm(DIM)
        self.pool = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.head = nn.Linear(DIM, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.patches(pixel_values).flatten(2).transpose(1, 2)
        x = x + self.batch_first(x, x, x, need_weights=False)[0]
        turned = x.transpose(0, 1)
        x = x + self.sequence_first(turned, turned, turned)[0].transpose(0, 1)
        x = x * self.scale
        placed = (x + self.positions).transpose(0, 1)
        x = x + self.detr(placed, placed, x.transpose(0, 1))[0].transpose(0, 1)
        others = self.memory(x)[:, 2:]
        x = x + self.others(x, others, others, need_weights=False)[0]
        mask = nn.Transformer.generate_square_subsequent_mask(8)
        x = x + self.causal(x, x, x, attn_mask=mask)[0]
        queries = self.norm(self.queries.expand(x.shape[0], -1, -1))
        x = self.pool(queries, x, x, need_weights=False)[0]
        return cast(Tensor, self.head(x.mean(1)))


class Encoder(nn.Module):
    """nn.TransformerEncoder on patches, with the sequence first or not."""

    def __init__(self, batch_first: bool, norm_first: bool, activation: str) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            DIM, 2, 32, activation=activation, batch_first=batch_first, norm_first=norm_first
        )
        self.patches, self.batch_first = nn.Conv2d(3, DIM, 8, 8), batch_first
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(DIM, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.patches(pixel_values).flatten(2)
        x = self.layers(x.transpose(1, 2) if self.batch_first else x.permute(2, 0, 1))
        x = x if self.batch_first else x.transpose(0, 1)
        return cast(Tensor, self.head(x.mean(1)))


def assert_each_use_is_one_layer(network: Network) -> None:
    assert not network.refused and network.batch is None
    assert len(every(network, "LearnedTensor")) == len(every(network, "LayerScale")) == 1
    assert [block.num_heads for block in every(network, "MultiHeadAttention")] == [2, 4]
    found = every(network, "Attention")
    assert [(block.use_bias, block.causal) for block in found] == [
        (False, False), (True, False), (True, True), (True, False),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["dynamo18.dynb", "dynamo23.static"])
def test_each_use_is_one_layer_in_any_spelling(filled: Callable[[str], Path], name: str) -> None:
    """The files are those of `Attentions`, by dynamo."""
    assert_each_use_is_one_layer(onnx2mvit.inspect(filled(f"torch-attentions.{name}")))


def test_a_file_for_one_image_becomes_a_model_of_any_batch_that_learns(tmp_path: Path) -> None:
    model = Attentions().eval()
    randomize(model, 0)
    assert_each_use_is_one_layer(onnx2mvit.inspect(exported(model, LEGACY, tmp_path, SIZE)))
    file = exported(model, ONE_IMAGE, tmp_path, SIZE)
    assert_each_use_is_one_layer(onnx2mvit.inspect(file))
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=2)
    assert result.passed
    assert_answers_alike(result.model, model, SIZE)
    before = {weight.path: np.array(weight) for weight in result.model.trainable_weights}
    result.model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype(np.float32)
    result.model.fit(images, np.zeros((2, 5)), verbose=0)
    still = {
        w.path for w in result.model.trainable_weights if (np.array(w) == before[w.path]).all()
    }
    assert not still


@pytest.mark.parametrize(("batch_first", "activation"), [(True, "relu"), (False, "gelu")])
def test_an_encoder_is_transformer_layers(
    batch_first: bool, activation: str, tmp_path: Path
) -> None:
    model = Encoder(batch_first, True, activation).eval()
    network = onnx2mvit.inspect(exported(model, LEGACY, tmp_path, SIZE))
    kinds = [block.kind for block in network.blocks]
    assert kinds == ["PatchEmbedding", "TransformerLayer", "TransformerLayer", "TokenClassifier"]


@pytest.mark.parametrize(
    ("norm_first", "kind"), [(False, "TransformerEncoderLayer"), (True, "TransformerLayer")]
)
def test_an_encoder_whose_input_has_the_sequence_first(
    tmp_path: Path, norm_first: bool, kind: str
) -> None:
    """That is torch's default. Keras's model has the images first, as many as one likes."""
    layer = nn.TransformerEncoderLayer(DIM, 2, 32, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    randomize(encoder, 0)
    tokens, file = torch.randn(5, 2, DIM), tmp_path / "net.onnx"
    axes = {"tokens": {1: "batch"}}
    own: dict[str, Any] = {"opset_version": 17, "input_names": ["tokens"], "dynamic_axes": axes}
    torch.onnx.export(encoder.eval(), (tokens,), file, dynamo=False, **own)
    result = onnx2mvit.convert(file, tmp_path, inputs=2)
    assert result.report["verification"]["verdict"] == "passed"
    kinds = [block.kind for block in result.blocks]
    assert [each for each in kinds if each != "Transpose"] == [kind, kind]
    assert result.model.input_shape == (None, 5, DIM)
    with torch.no_grad():
        expected = encoder(tokens).numpy()
    found = np.asarray(result.model(tokens.numpy().transpose(1, 0, 2)))
    assert np.allclose(found.transpose(1, 0, 2), expected, atol=1e-4 * np.abs(expected).max())
