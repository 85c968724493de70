"""LeViT: where its blocks hold, what looks like them, and a network converted."""

from pathlib import Path
from typing import Any

import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.matcher.diagnosis import made_of
from onnx2mvit.matcher.registry import builtin_patterns, of_kind
from onnx2mvit.reader import read
from tests.patterns.test_pattern_swin import reasons
from tests.support.networks import assert_tables_train_and_are_saved, exported
from tests.support.networks import converted as converted_in_blocks
from tests.support.texts import every, kinds
from tests.support.torch_levit import levit

pytestmark = pytest.mark.xdist_group("levit")

SIZE = (10, 6)
KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
BLOCKS = [*["LeViTBlock"] * 2, "LeViTDownsample", "LeViTBlock"]
HEADS = {"num_heads": 2, "key_dim": 4, "value_dim": 8, "activation": "hard_silu"}
BIAS = {"grid": (5, 3), "absolute": True}


@pytest.mark.parametrize("request_", [KEPT, FOLDED], ids=["kept", "folded"])
def test_its_blocks(tmp_path: Path, request_: Request) -> None:
    """Linear layers are normalized where convolutions have it folded, too."""
    network = lift(read(exported(levit(), request_, tmp_path, SIZE)))
    found = [block.kind for block in network.blocks]
    assert found == ["ConvBnAct", "ImageToTokens", *BLOCKS, "TwoHeadClassifier"]
    block, smaller = network.blocks[2], network.blocks[4]
    assert {name: block.params[name] for name in HEADS} == HEADS
    assert (block.grid, block.mlp_ratio, block.use_bias) == ((5, 3), 2, False)
    assert (smaller.grid, smaller.dim, smaller.params.get("pairwise")) == ((5, 3), 20, None)
    biases = [bias.params for bias in every(network, "ScoreBias")]
    assert biases == [BIAS, BIAS, BIAS | {"stride": 2}, BIAS | {"grid": (3, 2)}]
    assert network.blocks[-1].batch_norm


@pytest.mark.parametrize("request_", [KEPT, FOLDED], ids=["kept", "folded"])
def test_its_blocks_of_images(tmp_path: Path, request_: Request) -> None:
    network = lift(read(exported(levit(conv=True), request_, tmp_path, SIZE)))
    found = [block.kind for block in network.blocks]
    assert found == ["ConvBnAct", *(f"Conv{kind}" for kind in BLOCKS), "TwoHeadClassifier"]
    block, smaller = network.blocks[1], network.blocks[3]
    assert {name: block.params[name] for name in HEADS} == HEADS
    assert (block.grid, block.mlp_ratio, block.batch_norm) == ((5, 3), 2, request_ is KEPT)
    assert (smaller.grid, smaller.dim) == ((5, 3), 20)
    biases = [bias.params for bias in every(network, "ScoreBias")]
    assert biases == [BIAS, BIAS, BIAS | {"stride": 2}, BIAS | {"grid": (3, 2)}]


def test_any_numbers_are_learned_for_each_pair(tmp_path: Path) -> None:
    network = lift(read(exported(levit(wrong=0.5), KEPT, tmp_path, SIZE)))
    assert [b.kind for b in network.blocks][2:-1] == BLOCKS
    assert all(bias.params == {} for bias in every(network, "ScoreBias"))
    assert network.blocks[4].pairwise and "grid" not in network.blocks[2].params


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        ({"signed": True}, "LeViTAttention", "its bias goes by the signs of offsets"),
        ({"first": 1}, "LeViTDownsample", "rows_start is 1, not 0"),
        ({"bare": True}, "LeViTAttention", "Activation"),
        ({"plain": True}, "LeViTFeedForward", "LinearNorm"),
        ({"conv": True, "signed": True}, "ConvLeViTBlock", "its bias goes by the signs of offsets"),
        ({"conv": True, "bare": True}, "ConvLeViTBlock", "Activation"),
        ({"conv": True, "plain": True}, "ConvLeViTBlock", "batch_norm"),
    ],
    ids=[
        "signed",
        "every second from the second on",
        "no activation",
        "not normalized",
        "signed, of images",
        "no activation, of images",
        "not normalized, of images",
    ],
)
def test_no_block_by_one_detail(
    tmp_path: Path, config: dict[str, Any], kind: str, reason: str
) -> None:
    graph = read(exported(levit(**config), KEPT, tmp_path, SIZE))
    network = lift(graph)
    assert kind not in kinds(network)
    inner = "ConvLeViTAttention" if "signed" in config and "conv" in config else kind
    inner = "ConvLeViTAttention" if "bare" in config and "conv" in config else inner
    wanted = of_kind(inner, builtin_patterns())
    alone = lift(graph, [*made_of(wanted, builtin_patterns()), wanted])  # as `--why` has it
    given = reasons(network, inner) | reasons(alone, inner)
    assert any(reason in each for each in given)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("levit")
    return converted_in_blocks(exported(levit(), KEPT, folder, SIZE), folder)


def test_images_are_converted_and_the_batch_is_free(tmp_path: Path) -> None:
    """Proven by `converted_in_blocks`: all in blocks, alike in onnxruntime and Keras."""
    result = converted_in_blocks(exported(levit(conv=True), FOLDED, tmp_path, SIZE), tmp_path)
    assert result.model.input_shape == (None, 10, 6, 3)


@pytest.mark.slow
def test_it_trains_and_is_saved(converted: onnx2mvit.Conversion, tmp_path: Path) -> None:
    model = build(converted.folder, num_classes=3, dropout=0.1)
    assert_tables_train_and_are_saved(model, [(15, 2)] * 3 + [(6, 2)], tmp_path)
