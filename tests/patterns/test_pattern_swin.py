"""The blocks of Swin, and what looks like them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit.exporter.torch_export import Request
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.matcher.bindings import Trace
from onnx2mvit.matcher.find import find
from onnx2mvit.matcher.registry import builtin_patterns
from onnx2mvit.reader import read
from tests.support.networks import exported
from tests.support.texts import every
from tests.support.torch_swin import Config, Swin
from tests.support.torch_vit import randomize


def network(folder: Path, **config: Any) -> tuple[Network, Swin]:
    """One stage of two blocks, the second of them shifted."""
    model = Swin(Config(depths=(2,), **config))
    randomize(model, 0)
    request = Request("legacy", 17, True, True)
    file = exported(model.eval(), request, folder, Config(**config).size)
    return lift(read(file)), model


def reasons(found: Network, kind: str) -> set[str]:
    """Why no further block is of this kind, for all nodes that could end one."""
    pattern = next(pattern for pattern in builtin_patterns() if pattern.kind == kind)
    given = set()
    for root in found.graph.of(pattern.roots):
        trace = Trace(kind)
        if find(pattern, found.graph, root, trace) is None and trace.furthest is not None:
            given.add(trace.furthest.reason)
    return given


@pytest.mark.parametrize("config", [
    {}, {"timm": True}, {"fused": False}, {"timm": True, "fused": False}, {"size": (48, 32)},
])  # fmt: skip
def test_a_stage(tmp_path: Path, config: dict[str, Any]) -> None:
    found, model = network(tmp_path, **config)
    (stage,) = every(found, "SwinStage")
    assert (stage.depth, stage.num_heads, stage.window_size, stage.mlp_ratio) == (2, 2, 4, 2)
    height, width = config.get("size", (32, 32))
    grid = (height // 4, width // 4)
    assert [(block.shift, block.grid) for block in stage.children] == [(0, grid), (2, grid)]
    tables = [block.weights["embeddings"] for block in every(found, "RelativePositionBias")]
    expected = [p.detach().numpy() for name, p in model.named_parameters() if "table" in name]
    assert all(np.array_equal(*pair) for pair in zip(tables, expected, strict=True))


@pytest.mark.parametrize(
    ("config", "blocks", "kind", "reason"),
    [
        ({"bias": 0.5}, 0, "RelativePositionBias",
         "it is not one number for each way, and a mask"),
        ({"mask": -100.0}, 1, "WindowAttention", "the mask is not that of shifted windows"),
        ({"mask": -1.0}, 1, "WindowAttention", "it does not lower scores by 100"),
        ({"back": 1}, 1, "SwinBlock", "the image is rolled by (-2, -2), and back by (3, 3)"),
        ({"transposed": True}, 0, "SwinBlock", ""),
        ({"scale": 1.01}, 0, "WindowAttention", "the scale is not 1/sqrt(d)"),
        ({"size": (16, 32)}, 1, "WindowAttention", "the mask is not that of shifted windows"),
    ],
    ids=["bias not relative", "mask hides one more", "mask of another number",
         "rolled back too far", "windows by columns", "another scale", "one row of windows"],
)  # fmt: skip
def test_no_block_by_one_detail(
    tmp_path: Path, config: dict[str, Any], blocks: int, kind: str, reason: str
) -> None:
    found, _ = network(tmp_path, **config)
    assert len(every(found, "SwinBlock")) == blocks
    assert all(block.shift == 0 for block in every(found, "SwinBlock"))
    assert any(given.startswith(reason) for given in reasons(found, kind))
    assert all(stage.depth < 2 for stage in every(found, "SwinStage"))
    lowered = lower(found)  # its parts do not stand by themselves: they are operators again
    kinds = {block.kind for block in lowered.blocks}
    assert not kinds & {"SwinBlock", "WindowAttention", "RelativePositionBias"}
    assert not lowered.refused
