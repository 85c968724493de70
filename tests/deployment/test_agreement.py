"""int8 with a target: as few blocks in float32 as it takes, proven on images of their own."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnx2mvit
from onnx2mvit.deployment import describe_model
from onnx2mvit.deployment.candidates import Levels, Loss, split
from onnx2mvit.deployment.held_out import apart
from onnx2mvit.deployment.kept import Kept, allowed_changes, at_least, counted
from onnx2mvit.deployment.search import DEMANDED, STATIC, Search, Target, path, searched
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
    assert "conv_bn_act_2" in found["float32"]
    if format_ == "openvino":  # LiteRT leaves small blocks in float32 for the time
        assert found["float32"] == ["conv_bn_act_2"]
    blocks = {each["block"]: each["precision"] for each in made.report["blocks"]}
    assert {name for name, each in blocks.items() if each == "float32"} == {*found["float32"]}
    assert found["all_in_int8"]["agreeing"] <= 4 < found["tuned"]["agreeing"] == 8
    assert (found["held_out"]["count"], found["held_out"]["agreement"]) == (16, 1)
    assert made.comparison.images == found["held_out"]["images"] == "the others, kept aside"
    weights = {each["block"]: each["weights"] for each in made.report["blocks"]}
    assert found["more_bytes"] == 3 * sum(weights[name] for name in found["float32"])
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
    assert "by 3 images from dark: of those that decide, 2 of 2 agree" in " ".join(ran.out.split())


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


def loss(block: str, noise: float, saved: float, precision: str = "int8") -> Loss:
    return Loss(block, 1, -10 * math.log10(noise), saved, precision)


def test_each_step_saves_most_for_its_noise() -> None:
    dynamic = [loss("a", 1e-4, 10), loss("b", 1e-3, 10), loss("c", 1e-6, -1)]
    static = [loss("a", 1e-2, 15, STATIC), loss("b", 2e-3, 40, STATIC), loss("c", 1e-3, 2, STATIC)]
    assert path([*dynamic, *static]) == [
        Levels(frozenset("bc")),
        Levels(frozenset("c"), frozenset("b")),  # dynamic by itself would save less for its noise
        Levels(frozenset(), frozenset("bc")),  # dynamic it would be slower than in float32
        Levels(frozenset(), frozenset("abc")),
    ]


def test_what_adds_no_noise_comes_first_and_what_saves_no_time_never() -> None:
    fine = Loss("fine", 1, None, 1)
    assert path([loss("a", 1e-9, 9), fine])[0] == Levels(frozenset("a"))
    assert path([loss("a", 1e-3, -1), fine]) == [Levels(frozenset("a"))]
    assert path([loss("a", 1e-3, -1)]) == [Levels()]


def found(
    kept: Callable[[Levels], Kept], target: Target | None = None, blocks: str = "abcdefgh"
) -> tuple[Search, list[int]]:
    """Where blocks are put into int8 in this order."""
    told: list[int] = []
    steps = [Levels(frozenset(blocks[count:])) for count in range(1, len(blocks) + 1)]
    weights, target = dict.fromkeys(blocks, 3), target or Target(0.9, 10)
    return searched(steps, weights, kept, target, lambda done, total: told.append(done)), told


def needing(*blocks: str) -> Callable[[Levels], Kept]:
    """A network that keeps its answers where these are in float32."""
    return lambda levels: Kept(10, *((10, 10) if {*blocks} <= levels.floating else (5, 5)))


def test_the_last_choice_in_order_is_taken_that_is_good_enough() -> None:
    search, told = found(needing("f", "h"))
    assert search.levels == Levels(frozenset("fgh")) and search.reached
    assert search.more_bytes == 3 * 9
    assert (search.plain.agreeing, search.tuned.agreeing) == (5, 10)
    assert len(told) <= 5  # by halves
    assert found(needing())[0].levels == Levels()


def test_a_lucky_choice_is_not_looked_for() -> None:
    """Where noise lets one of many bad choices pass, an order leaves it little to pass at."""
    rng = np.random.default_rng(0)

    def lucky(levels: Levels) -> Kept:
        good = len(levels.floating) > 40 or rng.random() < 0.1
        return Kept(10, *((10, 10) if good else (5, 5)))

    blocks = "".join(map(chr, range(97, 197)))
    bad = sum(len(found(lucky, blocks=blocks)[0].levels.floating) <= 40 for _ in range(200))
    assert bad / 200 < 0.45  # of 60 that may be, the luckiest passes nearly always


def test_a_target_out_of_reach_gives_the_first_choice() -> None:
    search, _ = found(lambda levels: Kept(10, *2 * [5 + len(levels.floating)]), blocks="abc")
    assert not search.reached and len(search.levels.floating) == 2  # one is in int8


def test_other_images_decide_than_those_that_rank_blocks() -> None:
    interface, pixels = describe_model(a_model(8), 1, None), np.arange(40)[:, None, None, None]
    for count, few in ((40, 16), (20, 10), (2, 1)):
        ranked, others = (each["image"] for each in split(interface, pixels[:count], True))
        assert [*np.ravel(ranked), *np.ravel(others)] == [*range(count)] and len(ranked) == few
    assert all(len(each["image"]) == 1 for each in split(interface, pixels[:1], True))
    assert len(split(interface, pixels[:16], False)[0]["image"]) == 16


def test_noise_is_counted_against_margins() -> None:
    theirs = np.array([[0, 3.0, 1], [2, 0, 1.5], [0, 1, 5], [0, 1, 2]])
    shifts = np.array([[0, 0.6, 0], [0, 0, 0.6], [0, 0, -0.6], [0, 0, 0]])  # the last has no noise
    kept = counted(theirs + shifts, theirs)
    assert (kept.count, kept.agreeing) == (4, 3)
    # Those with margins 0.5 and 2 are near. One of four shifts, to either side, changes the first.
    normal = sum(math.erfc(margin / 0.6 / math.sqrt(2)) / 2 for margin in (2, 4))
    assert kept.expected == pytest.approx(4 - 0.5 - normal)
    assert counted(theirs, theirs) == Kept(4, 4, 4)


def test_shifts_are_those_of_images_near_a_tie() -> None:
    """Where the network is unsure, noise moves its first classes more than all of its scores."""
    rng = np.random.default_rng(0)
    margin = np.repeat([0.05, 8], 1000)
    theirs = np.repeat([[0.0] * 2 + [-9] * 8], 2000, 0) + margin[:, None] * np.eye(10)[0]
    noise = 0.02 * rng.normal(size=(2000, 10))
    noise[:1000, :2] *= 3
    kept = counted(theirs + noise, theirs)
    assert 2000 - kept.agreeing > 50
    assert 2000 - kept.expected == pytest.approx(2000 - kept.agreeing, rel=0.1)


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
    search, _ = found(kept, target, "abc")
    assert len(search.levels.floating) == 2 and target.chance(search.tuned) > DEMANDED
    assert 0.4 < Kept(200, 198, 198).chance(0.99, 200) < 0.7


def test_a_target_may_be_reached_without_its_margin() -> None:
    """The first choice is given, which the other images may prove."""
    target = Target(0.99, 200)
    search, _ = found(lambda levels: Kept(200, 199, 198.0), target, "abc")
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
