"""int8 with a target: as few blocks in float32 as it takes, proven on images of their own."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnx2mvit
from onnx2mvit.deployment import describe_model
from onnx2mvit.deployment.held_out import apart
from onnx2mvit.deployment.kept import Kept, allowed_changes, at_least, counted
from onnx2mvit.deployment.search import DEMANDED, Levels, Search, Target, searched
from onnx2mvit.errors import UnsupportedError, UsageError
from tests.support.command_line import Run, exit_code
from tests.support.graphs import model, save
from tests.support.photographs import COLOURS, folder_of_classes, photograph

for package in ("ai_edge_litert", "ai_edge_quantizer", "openvino", "nncf"):
    pytest.importorskip(package)

pytestmark = pytest.mark.xdist_group("deploy")
# `wide` reads what counts beside a channel a thousand times as large, in which int8 loses it.
NET = """g (float[N,3,8,8] pixels) => (float[N,8] scores) {
    s = Conv(pixels, stem, b)  a = Conv(s, grown, z)  c = Conv(a, wide, d)  r = Clip(c, low, high)
    e = Conv(r, last, d)  p = GlobalAveragePool(e)  f = Flatten<axis=1>(p)
    scores = Gemm(f, m, v) }"""
EYE = np.eye(4)[:3]
WEIGHTS: dict[str, Any] = {
    "stem": np.eye(3).reshape(3, 3, 1, 1),
    "b": np.full(3, -0.5),
    "grown": np.concatenate([np.eye(3), np.full((1, 3), 1e3)]).reshape(4, 3, 1, 1),
    "z": np.zeros(4),
    "wide": EYE.reshape(3, 4, 1, 1),
    "d": np.zeros(3),
    "low": np.float32(-9),
    "high": np.float32(9),
    "last": np.eye(3).reshape(3, 3, 1, 1),
    "m": (2 * COLOURS - 1).T,
    "v": np.zeros(8),
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted; its ONNX file is beside it."""
    output = tmp_path_factory.mktemp("wide")
    made = model(NET, **WEIGHTS)
    return onnx2mvit.convert(save(made, output, "net.onnx"), output, verify=False).folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight colours, four times each."""
    return folder_of_classes(tmp_path_factory.mktemp("photos"), 4)


@pytest.mark.parametrize("format_", ["litert", "openvino"])
def test_one_block_alone_must_stay_in_float32(
    net: Path, photos: Path, tmp_path: Path, format_: str
) -> None:
    made = onnx2mvit.deploy(
        net, tmp_path, format=format_, precision="int8", calibration=photos, agreement=1
    )
    found = made.report["agreement"]
    assert made.passed and found["verdict"] == "passed"
    assert found["float32"] == ["conv_bn_act_2"]
    blocks = {each["block"]: each["precision"] for each in made.report["blocks"]}
    assert [name for name, precision in blocks.items() if precision == "float32"] == found[
        "float32"
    ]
    assert found["all_in_int8"]["agreeing"] <= 8 < found["tuned"]["agreeing"] == 16
    assert (found["held_out"]["count"], found["held_out"]["agreement"]) == (16, 1)
    assert made.comparison.images == found["held_out"]["images"] == "the others, kept aside"
    assert found["more_bytes"] == 3 * 12
    assert found["milliseconds"].keys() == {"int8", "chosen", "float32"}


def test_a_target_that_is_missed_on_other_images_is_a_failure_with_5(
    net: Path, photos: Path, tmp_path: Path, run: Run
) -> None:
    for seed in range(9, 12):  # all of one colour, which int8 says of all others too
        photograph(tmp_path / f"dark/{seed}.jpg", 0, seed)
    tuned = ("--calibration", tmp_path / "dark", "--holdout", photos)
    options = ("--precision", "int8", "--agreement", 0.3, *tuned, "-o", tmp_path)
    ran = run("deploy", net, *options)
    assert ran.code == 5
    assert re.search(r"int8 keeps \d+\.\d% of 32 on which .*, where 30% are wanted", ran.err)
    assert "on 3 images from dark: 3 of 3 agree" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agreement": 1.5}, "--agreement 1.5: give a share of answers"),
        ({"agreement": 0}, "--agreement 0: give a share of answers"),
        ({"agreement": float("nan")}, "--agreement nan: give a share"),
        ({"agreement": "most"}, "agreement='most': give a share of answers"),
        ({"agreement": 0.9, "precision": "float32"}, "--agreement is for --precision int8"),
        ({"agreement": 0.9, "calibration": None}, "give --calibration FOLDER"),
        ({"agreement": 0.9, "images": "p"}, "leave out --images"),
        ({"agreement": None, "holdout": "p"}, "--holdout proves what --agreement asks for"),
        ({"agreement": 0.9, "holdout": "nowhere"}, "nowhere is not a folder of images"),
    ],
)
def test_a_target_that_makes_no_sense_is_one_line(
    net: Path, photos: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"precision": "int8", "calibration": photos} | options
    with pytest.raises(UsageError, match=message):
        onnx2mvit.deploy(net, tmp_path, **given)
    assert not list(tmp_path.iterdir())


def test_the_command_has_the_options(net: Path, tmp_path: Path) -> None:
    assert exit_code("deploy", net, "-o", tmp_path, "--precision", "int8", "--agreement", 2) == 2
    assert exit_code("deploy", net, "-o", tmp_path, "--holdout", tmp_path) == 2


def test_no_image_proves_what_it_was_chosen_on(photos: Path, tmp_path: Path) -> None:
    interface = describe_model(a_model(8), 1, None)
    parts = apart(interface, photos, None)
    tuned, held = parts.tuned["image"], parts.held["image"]
    assert len(tuned) == len(held) == 16
    assert not {each.tobytes() for each in tuned} & {each.tobytes() for each in held}
    for number, red in enumerate([0, 0, 80, 160]):  # the second is the first again
        Image.new("RGB", (9, 9), (red, 0, 0)).save(tmp_path / f"{number}.png")
    parts = apart(interface, tmp_path, None)
    assert (len(parts.tuned["image"]), len(parts.held["image"])) == (2, 1)
    assert parts.held_on == "the others, kept aside, without 1 that it was tuned on"
    with pytest.raises(UsageError, match=r"of .* none is another"):
        apart(interface, photos, photos)


def test_what_has_no_classes_has_no_agreement(photos: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"of classes, and \w+ \(batch, \?\) has no scores"):
        apart(describe_model(a_model(1), 1, None), photos, None)


def a_model(classes: int) -> Any:
    import keras

    image = keras.Input((8, 8, 3), name="image")
    return keras.Model(image, keras.layers.Dense(classes)(keras.layers.Flatten()(image)))


def found(
    weights: dict[str, int],
    kept: Callable[[Levels], Kept],
    target: Target | None = None,
    faster: Sequence[str] = (),
) -> tuple[Search, list[int]]:
    told: list[int] = []
    target = target or Target(0.9, 10)
    return searched(weights, faster, kept, target, lambda done, total: told.append(done)), told


def needing(*blocks: str) -> Callable[[Levels], Kept]:
    """A network that keeps its answers where these are in float32."""
    return lambda levels: Kept(10, *((10, 10) if {*blocks} <= levels.floating else (5, 5)))


def test_blocks_are_put_back_that_are_not_needed() -> None:
    weights = dict(zip("abcdefgh", (1, 9, 2, 8, 3, 7, 4, 6), strict=True))
    search, told = found(weights, needing("b", "e"))
    assert search.levels == Levels(frozenset("be")) and search.reached
    assert search.more_bytes == 3 * (9 + 3)
    assert (search.plain.agreeing, search.tuned.agreeing) == (5, 10)
    assert len(told) <= len(weights) + 4  # not every choice was tried
    assert not found(weights, needing())[0].levels.floating


def test_a_target_out_of_reach_gives_what_came_nearest() -> None:
    def kept(levels: Levels) -> Kept:
        return Kept(10, *2 * [5 + len(levels.floating)])

    search, _ = found({"a": 1, "b": 1, "c": 1}, kept, faster="abc")
    assert not search.reached and len(search.levels.floating) == 2  # one is in int8
    assert not search.levels.static


def test_blocks_are_static_where_the_target_allows_it() -> None:
    """Those first that come first, and after the first that may not be those that still may."""

    def kept(levels: Levels) -> Kept:
        fine = "a" in levels.floating and not levels.static & {"d"}
        return Kept(10, *((10, 10) if fine else (5, 5)))

    search, told = found(dict.fromkeys("abcdef", 1), kept, faster="cadfe")
    assert search.levels == Levels(frozenset("a"), frozenset("cfe"))
    assert search.reached and search.more_bytes == 3
    assert len(told) <= 6 + 5 + 6
    assert found(dict.fromkeys("abc", 1), needing(), faster="ba")[0].levels.static == {*"ab"}


def test_noise_is_counted_against_margins() -> None:
    theirs = np.array([[0, 3.0, 1], [2, 0, 1.5], [0, 1, 5], [0, 1, 2]])
    shifts = np.array([[0, 0.6, 0], [0, 0, 0.6], [0, 0, -0.6], [0, 0, 0]])  # the last has no noise
    changed = sum(math.erfc(margin / 0.6 / math.sqrt(2)) / 2 for margin in (2, 0.5, 4))
    kept = counted(theirs + shifts, theirs)
    assert (kept.count, kept.agreeing) == (4, 3)
    assert kept.expected == pytest.approx(4 - changed)
    assert counted(theirs, theirs) == Kept(4, 4, 4)


def test_an_image_with_little_noise_is_not_counted_with_that_of_others() -> None:
    """As of a softmax, which moves where it is unsure alone."""
    rng = np.random.default_rng(0)
    noise = np.repeat([1e-3, 1.0], 500)
    theirs = np.array([2.0, 0, 0, 0]) * np.repeat([0.01, 4], 500)[:, None]
    kept = counted(theirs + noise[:, None] * rng.normal(size=(1000, 4)), theirs)
    assert kept.agreeing == 1000 and kept.expected > 999.9


def test_a_choice_aims_at_images_that_it_does_not_know() -> None:
    """What keeps the target just so is not enough: on others it fails as often as not."""

    def kept(levels: Levels) -> Kept:
        return Kept(200, *((198, 198.0) if len(levels.floating) == 1 else (199, 199.5)))

    target = Target(0.99, 200)
    search, _ = found({"a": 1, "b": 1, "c": 1}, kept, target)
    assert len(search.levels.floating) == 2 and target.chance(search.tuned) > DEMANDED
    assert 0.4 < Kept(200, 198, 198).chance(0.99, 200) < 0.7


def test_a_margin_out_of_reach_gives_what_holds_most_probably() -> None:
    """The target is reached all the same, which the other images may prove."""

    def kept(levels: Levels) -> Kept:
        return Kept(200, 199, 198 + 0.1 * len(levels.floating))

    target = Target(0.99, 200)
    search, _ = found({"a": 1, "b": 1, "c": 1}, kept, target)
    assert search.reached and target.chance(search.tuned) < DEMANDED
    assert len(search.levels.floating) == 2


@pytest.mark.parametrize(("count", "changed", "others"), [(50, 0.5, 50), (200, 3.7, 120)])
def test_the_chance_is_that_of_drawing_a_rate_and_then_images(
    count: int, changed: float, others: int
) -> None:
    rng = np.random.default_rng(0)
    rates = rng.beta(changed, count - changed, 400_000)
    drawn = (rng.binomial(others, rates) <= allowed_changes(0.97, others)).mean()
    kept = Kept(count, count, count - changed)
    assert kept.chance(0.97, others) == pytest.approx(drawn, abs=5e-3)


def test_a_chance_is_certain_only_where_nothing_can_change() -> None:
    assert Kept(10, 10, 10).chance(1, 200) == 1
    assert Kept(10, 0, 0).chance(0.5, 200) == 0
    assert Kept(10, 10, 9.99).chance(1, 10) > Kept(10, 10, 9.99).chance(1, 200)
    assert Kept(10, 5, 5).chance(0.5, 1) == pytest.approx(0.5)
    assert Kept(256, 0, 1e-300).chance(0.99, 256) == 0


def test_a_share_of_answers_is_a_whole_number_of_changes() -> None:
    assert [allowed_changes(0.99, count) for count in (1, 99, 100, 199, 200)] == [0, 0, 1, 1, 2]
    assert (allowed_changes(1, 256), allowed_changes(0.9, 10), allowed_changes(0.7, 10)) == (
        0,
        1,
        3,
    )


def test_a_share_of_few_images_says_little() -> None:
    assert at_least(1, 10) == pytest.approx(0.787, abs=1e-3)
    assert at_least(0.99, 200) == pytest.approx(0.970, abs=1e-3)
