"""EfficientFormer: where its blocks hold, what looks like them, and a network converted."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.lifter import lift
from onnx2mvit.reader import read
from tests.patterns.test_pattern_swin import reasons
from tests.support.networks import converted as converted_in_blocks
from tests.support.networks import exported
from tests.support.texts import kinds
from tests.support.torch_efficientformer import efficientformer

pytestmark = pytest.mark.xdist_group("efficientformer")

SIZE = (6, 4)
KEPT, FOLDED = Request("legacy", 17, False, True), Request("legacy", 17, True, True)
BLOCKS = [*["MetaBlock4D"] * 2, "ImageToTokens", *["MetaBlock3D"] * 2]


@pytest.mark.parametrize("request_", [KEPT, FOLDED], ids=["kept", "folded"])
@pytest.mark.parametrize("scaled", [True, False])
def test_its_blocks(tmp_path: Path, request_: Request, scaled: bool) -> None:
    network = lift(read(exported(efficientformer(scaled=scaled), request_, tmp_path, SIZE)))
    found = [block.kind for block in network.blocks]
    assert found == ["ConvBnAct", *BLOCKS, "LayerNorm", "TwoHeadClassifier"]
    pools, attends = network.blocks[1], network.blocks[4]
    assert (pools.mlp_ratio, pools.pool_size, pools.layer_scale) == (2, 3, scaled)
    assert (attends.num_heads, attends.key_dim, attends.value_dim) == (2, 4, 8)
    assert attends.grid == (3, 2) and bool(attends.params.get("layer_scale")) == scaled


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        ({"zeros": True}, "AveragePooling2D", ""),
        ({"mean": True}, "MetaBlock4D", ""),
        ({"half": True}, "MetaBlock4D", ""),
        ({"half": True}, "MetaBlock3D", "one of its branches alone is scaled"),
        ({"signed": True}, "MetaBlock3D", "its bias goes by the signs of offsets"),
        ({"teachers": 1}, "TwoHeadClassifier", ""),
    ],
    ids=["zeros at the border", "not less itself", "half scaled", "half scaled tokens", "signed",
         "one head"],
)  # fmt: skip
def test_no_block_by_one_detail(
    tmp_path: Path, config: dict[str, Any], kind: str, reason: str
) -> None:
    network = lift(read(exported(efficientformer(**config), KEPT, tmp_path, SIZE)))
    assert kind not in kinds(network)
    assert not reason or any(reason in given for given in reasons(network, kind))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> onnx2mvit.Conversion:
    folder = tmp_path_factory.mktemp("efficientformer")
    file = exported(efficientformer(), KEPT, folder, SIZE)
    return converted_in_blocks(file, folder)


def test_another_size_has_no_biases(converted: onnx2mvit.Conversion) -> None:
    with pytest.raises(UnsupportedError, match="hold for the default input_shape alone"):
        build(converted.folder, input_shape=(8, 4, 3))


def test_both_heads_are_made_anew_and_all_is_trained(converted: onnx2mvit.Conversion) -> None:
    model: Any = build(converted.folder, num_classes=3, dropout=0.1)
    weights = model.trainable_weights
    before = [np.array(weight) for weight in weights]
    assert len([weight for weight in weights if weight.path.endswith("embeddings")]) == 2
    assert [tuple(weight.shape) for weight in weights[-4:]] == [(12, 3), (3,), (12, 3), (3,)]
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3))
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(images, np.ones((2, 3)), verbose=0)
    # A bias of the keys has no gradient: softmax does not mind what all scores have.
    pairs = zip(weights, before, strict=True)
    still = [weight.path for weight, old in pairs if (np.array(weight) == old).all()]
    assert all(path.endswith("key/bias") for path in still)
    assert build(converted.folder, include_top=False).output_shape == (None, 6, 12)
