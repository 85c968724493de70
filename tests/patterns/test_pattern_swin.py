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
    tables = [block.weights["embeddings"] for block in every(found, "ScoreBias")]
    expected = [p.detach().numpy() for name, p in model.named_parameters() if "table" in name]
    assert all(np.array_equal(*pair) for pair in zip(tables, expected, strict=True))


@pytest.mark.parametrize("fill", ["first", "rolled"])
def test_zeros_fill_the_last_windows(tmp_path: Path, fill: str) -> None:
    """10×4 pixels in three windows of 4×4, which are shifted along the one side."""
    found, _ = network(tmp_path, fill=fill, size=(40, 16), timm=fill == "rolled")
    (stage,) = every(found, "SwinStage")
    assert {"depth": 2, "fill": fill, "along": True}.items() <= stage.params.items()
    assert [(block.shift, block.grid) for block in stage.children] == [(0, (10, 4)), (2, (10, 4))]
    (mask,) = every(found, "ShiftMask")
    assert mask.params == {"shift": 2, "windows": (3, 1)}


@pytest.mark.parametrize(
    ("config", "params"),
    [
        ({"bias": 0.5}, {"pairwise": True}),
        ({"bias": 0.5, "timm": True, "fused": False}, {"pairwise": True}),
        ({"mask": -100.0}, {"mask_windows": 4}),
        ({"mask": -1.0}, {"mask_windows": 4}),
        ({"size": (16, 32)}, {"mask_windows": 2}),
    ],
    ids=["bias not relative", "nor with timm", "mask hides one more", "mask of another number",
         "one row of windows"],
)  # fmt: skip
def test_what_is_not_the_papers_is_learned_for_each_pair(
    tmp_path: Path, config: dict[str, Any], params: dict[str, Any]
) -> None:
    """And is never given out as what it is not."""
    found, _ = network(tmp_path, **config)
    (stage,) = every(found, "SwinStage")
    own = {"pairwise", "mask_windows", "absolute"} & stage.params.keys()
    assert {name: stage.params[name] for name in own} == params and stage.depth == 2
    assert [block.shift for block in stage.children] == [0, 2]
    kinds = [block.kind for block in stage.walk()]
    assert kinds.count("ShiftMask") == ("mask_windows" not in params)
    assert kinds.count("WindowMask") == ("mask_windows" in params)
    for bias in every(found, "ScoreBias"):
        assert bias.params == ({} if "pairwise" in params else {"grid": (4, 4)})


@pytest.mark.parametrize(
    ("config", "blocks", "kind", "reason"),
    [
        ({"back": 1}, 1, "SwinBlock", "the image is rolled by (-2, -2), and back by (3, 3)"),
        ({"transposed": True}, 0, "SwinBlock", ""),
        ({"fill": "first", "size": (40, 40), "zero": 1.0}, 0, "SwinBlock",
         "it is padded otherwise"),
        ({"scale": 1.01}, 0, "BiasedAttention", "the scale is not 1/sqrt(d)"),
    ],
    ids=["rolled back too far", "windows by columns", "filled with ones", "another scale"],
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
    assert not kinds & {"SwinBlock", "BiasedAttention", "ScoreBias"}
    assert not lowered.refused
