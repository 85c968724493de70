"""CLIP's encoders: their parts, where these do not hold by one detail, and what they answer."""

from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import onnx
import pytest
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Logits, Request, to_onnx
from tests.support.networks import converted as converted_in_blocks
from tests.support.networks import exported
from tests.support.texts import Text, every, kinds, only
from tests.support.torch_vit import randomize

pytestmark = pytest.mark.xdist_group("clip")

LEGACY, DYNAMO = Request("legacy", 17, True, True), Request("dynamo", 18, True, True)
VOCABULARY, TOKENS, END = 50, 12, 48
WIDE: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "projection_dim": 8,
}  # fmt: skip


class Encoder(torch.nn.Module):
    """Texts to vectors of length 1; the end is the highest token, or the first that is called so.

    Hugging Face takes 2 for the first, since the configuration of OpenAI's files is wrong.
    """

    def __init__(self, end: int) -> None:
        super().__init__()
        config = CLIPTextConfig(
            vocab_size=VOCABULARY, max_position_embeddings=TOKENS, eos_token_id=end, **WIDE
        )
        self.inner = CLIPTextModelWithProjection(config)
        randomize(self, 0)
        self.eval()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.inner(tokens).text_embeds, dim=-1)


class ImageEncoder(torch.nn.Module):
    """Images to vectors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = CLIPVisionModelWithProjection(
            CLIPVisionConfig(image_size=32, patch_size=8, **WIDE)
        )
        randomize(self, 0)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        embeds = self.inner(images).image_embeds
        return cast(torch.Tensor, embeds / embeds.norm(p=2, dim=-1, keepdim=True))


def texts(seed: int = 0) -> torch.Tensor:
    """Two texts with the end in the middle, and other tokens after it."""
    found = torch.randint(3, 40, (2, TOKENS), generator=torch.Generator().manual_seed(seed))
    found[0, 7] = found[1, 4] = found[1, 9] = END
    return found


def text_file(end: int, request: Request, folder: Path) -> Path:
    made = to_onnx(cast(Logits, Encoder(end)), texts(), request)
    onnx.save(made, folder / "text.onnx")
    return folder / "text.onnx"


HEAD = ["LayerNorm", "EndOfText", "Dense", "UnitNormalization"]
KINDS = ["TextEmbedding", "TransformerLayer", "TransformerLayer", *HEAD]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("clip")
    return converted_in_blocks(text_file(END, LEGACY, folder), folder)


def test_a_text_encoder_is_in_blocks(result: onnx2mvit.Conversion) -> None:
    assert [block.kind for block in result.blocks] == KINDS
    embedding, layer, *_ = result.blocks
    assert embedding.params == {"vocabulary": VOCABULARY, "dim": 16}
    assert (
        layer.params.items()
        >= {"num_heads": 2, "causal": True, "activation": "gelu_sigmoid"}.items()
    )
    assert [block.params for block in result.blocks if block.kind == "EndOfText"] == [{"end": END}]


@pytest.mark.slow
@pytest.mark.parametrize(("end", "request_"), [(2, LEGACY), (END, DYNAMO)])
def test_it_is_the_same_by_both_exporters(end: int, request_: Request, tmp_path: Path) -> None:
    found = onnx2mvit.inspect(text_file(end, request_, tmp_path))
    assert [block.kind for block in found.blocks] == KINDS
    (end_of_text,) = every(found, "EndOfText")
    assert end_of_text.params == ({} if end == 2 else {"end": END})


def test_it_answers_as_torch_and_is_trained(result: onnx2mvit.Conversion) -> None:
    model: Any = build(result.folder)
    tokens = texts(1)
    with torch.no_grad():
        expected = Encoder(END)(tokens).numpy()
    found = keras.ops.convert_to_numpy(model(tokens.numpy()))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    before = np.array(model.get_layer("embeddings").trainable_weights[0])
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    model.fit(tokens.numpy(), np.eye(2, 8), verbose=0)
    changed = (np.array(model.get_layer("embeddings").trainable_weights[0]) != before).any(axis=1)
    seen = {int(token) for text in tokens for token in text[: list(text).index(END) + 1]}
    assert set(np.flatnonzero(changed)) == seen


@pytest.mark.slow
def test_it_runs_as_litert(result: onnx2mvit.Conversion, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    assert onnx2mvit.deploy(result.folder, tmp_path, inputs=2).passed


def test_an_image_encoder_is_in_blocks(tmp_path: Path) -> None:
    found = onnx2mvit.inspect(exported(ImageEncoder(), LEGACY, tmp_path))
    assert not found.refused and found.coverage.percent == 100
    assert found.blocks[-1].kind == "UnitNormalization"


VECTORS = "float[2,3,8]"
UNIT = Text(
    "n = ReduceL2<keepdims=1>(x, last)  c = Clip(n, least)  y = Div(x, c)",
    {"last": [-1], "least": 1e-12},
)


@pytest.mark.parametrize(
    "text",
    [
        UNIT,
        UNIT.but("c = Clip(n, least)  y = Div(x, c)", "y = Div(x, n)"),
        UNIT.but("y = Div(x, c)", "e = Expand(c, whole)  y = Div(x, e)", whole=[2, 3, 8]),
    ],
)
def test_a_vector_over_its_length(tmp_path: Path, text: Text) -> None:
    assert kinds(text.lifted(tmp_path, image=VECTORS)) == {"UnitNormalization"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (UNIT.having(last=[1]), "it is not the length of vectors along the last axis"),
        (UNIT.having(last=[1, 2]), "it is not the length of vectors along the last axis"),
        (UNIT.having(least=1e-5), "least is 1e-05, not 1e-12"),
        (UNIT.but("ReduceL2", "ReduceL1"), "length (ReduceL2) expected, found <ReduceL1>"),
        (UNIT.but("Div(x, c)", "Div(c, x)"),
         "Expand expected, but <x [2, 3, 8]> is an input or a constant"),
    ],
)  # fmt: skip
def test_no_such_length_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert not kinds(text.lifted(tmp_path, image=VECTORS))
    assert text.reason(tmp_path, "UnitNormalization", image=VECTORS) == reason


ENDING = Text(
    """
    t = ArgMax<axis=2, keepdims=0>(x)  a = ArgMax<axis=-1, keepdims=0>(t)
    c = Reshape(a, column)  i = Concat<axis=-1>(images, c)  y = GatherND(x, i)
    """,
    {"column": [2, 1], "images": [[0], [1]]},
)
FLAT = Text(
    """
    t = ArgMax<axis=2, keepdims=0>(x)  a = ArgMax<axis=-1, keepdims=0>(t)
    f = Reshape(x, flat)  i = Add(a, starts)  y = Gather(f, i)
    """,
    {"flat": [6, 8], "starts": [0, 3]},
)


@pytest.mark.parametrize("text", [ENDING, FLAT])
def test_the_end_of_a_text(tmp_path: Path, text: Text) -> None:
    block = only(text.lifted(tmp_path, image=VECTORS), "EndOfText")
    assert [value.shape for value in block.operands] == [(2, 3, 8), (2, 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENDING.having(images=[[1], [0]]), "GatherND: batch_dims is 0, not 1"),
        (ENDING.but("axis=-1, keepdims=0>(t)", "axis=0, keepdims=0>(u)").but(
            "  a =", "  u = Transpose<perm=[1,0]>(t)  a ="), "it is not one place for each text"),
        (ENDING.but("ArgMax<axis=2", "ArgMax<axis=1"), "it is not one place for each text"),
        (ENDING.but("ArgMax<axis=2, keepdims=0>(x)", "ReduceMax<keepdims=0>(x, last)", last=[2]),
         "its tokens are no integers"),
    ],
)  # fmt: skip
def test_no_end_of_a_text_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "EndOfText" not in kinds(text.lifted(tmp_path, image=VECTORS))
    assert text.reason(tmp_path, "EndOfText", image=VECTORS) == reason
