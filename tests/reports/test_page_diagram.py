"""The picture of a network: few boxes, all blocks in them, and colours that mean something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx2mvit import inspect
from onnx2mvit.reports.page.diagram import Diagram, diagram
from onnx2mvit.reports.page.errors import Scale, histogram
from onnx2mvit.reports.page.groups import MOST_BOXES, MOST_ROWS, grouped, sections
from onnx2mvit.reports.page.tree import Row, rows_of
from onnx2mvit.reports.report import describe

pytestmark = pytest.mark.xdist_group("report")

SCALE = Scale(1e-5, 1e-6)


def row(
    number: int, kind: str = "Kind", name: str = "", single: bool = False, size: int = 8
) -> Row:
    anchor = f"b{number}"
    shape = (None, size, size, 4)
    name = name or anchor
    return Row(anchor, kind, name, "", shape, 10, f"p{number}", 1e-7, "e1", single, ())


def drawn(rows: list[Row], reads: dict[str, list[str]], columns: int = 4) -> Diagram:
    report: dict[str, Any] = {
        "connections": {"inputs": ["in"], "outputs": {"out": rows[-1].path}, "reads": reads},
        "sizes": {"traced": [8, 8]},
    }
    return diagram(report, grouped(rows), SCALE, columns)


@pytest.fixture(scope="module")
def xs(filled: Callable[[str], Path]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(json.dumps(describe(inspect(filled("mobilevit_xs")))))
    return report | {"verification": None, "single_operators": [], "sizes": {"traced": [256, 256]}}


def test_mobilevit_is_a_chain_of_a_dozen_boxes_in_bands_of_one_size(xs: dict[str, Any]) -> None:
    picture = diagram(xs, grouped(rows_of(xs, None)), None, 4)
    assert [band.label for band in picture.bands] == [
        ("input",),
        *((f"{256 // stride}×{256 // stride}", f"stride {stride}") for stride in (2, 4, 8, 16, 32)),
        ("vector",),
        ("output",),
    ]
    titles = [(box.title, box.times) for box in picture.boxes]
    assert titles[0] == ("pixel_values", 1) and titles[-1] == ("logits", 1)
    assert ("InvertedResidual", 3) in titles
    assert len(titles) == 13
    assert len(picture.arrows) == 12 and picture.curves == ()


@pytest.mark.parametrize("columns", [1, 4])
def test_no_box_lies_over_another_or_outside_of_the_picture(
    xs: dict[str, Any], columns: int
) -> None:
    picture = diagram(xs, grouped(rows_of(xs, None)), None, columns)
    places = [(box.x, box.y) for box in picture.boxes]
    for number, (x, y) in enumerate(places):
        assert 0 <= x <= picture.width - 208 and 0 <= y <= picture.height - 66
        for other_x, other_y in places[number + 1 :]:
            assert abs(x - other_x) >= 208 or abs(y - other_y) >= 66


@pytest.mark.parametrize("size", [1, 10, 100, 3000])
@pytest.mark.parametrize("modules", [0, 1, 7])
def test_however_many_blocks_there_are_all_are_in_a_few_boxes(size: int, modules: int) -> None:
    names = [f"m{i // modules}.layer.{i}" if modules else f"n{i}" for i in range(size)]
    rows = [row(i, f"Kind{i}", names[i], single=i % 5 == 4) for i in range(size)]
    groups = grouped(rows)
    assert 1 <= len(groups) <= MOST_BOXES
    assert [each for group in groups for each in group.rows] == rows


def test_a_network_of_no_known_module_is_still_drawn_in_a_few_boxes() -> None:
    rows = [row(i, f"Kind{i}", f"n{i}", size=1 + i % 2) for i in range(500)]
    groups = grouped(rows)
    assert len(groups) <= MOST_BOXES
    assert [each for group in groups for each in group.rows] == rows


def test_what_repeats_is_one_box_and_what_differs_is_not() -> None:
    groups = grouped([row(0), row(1), row(2, size=4), row(3, "Other", size=4)])
    assert [(group.title, group.times) for group in groups] == [
        ("Kind", 2),
        ("Kind", 1),
        ("Other", 1),
    ]


def test_a_connection_around_other_boxes_is_a_curve() -> None:
    rows = [row(0, "A"), row(1, "B"), row(2, "C")]
    picture = drawn(rows, {"p0": ["in"], "p1": ["p0"], "p2": ["p1", "p0"]})
    assert len(picture.arrows) == 4
    assert len(picture.curves) == 1


def test_boxes_that_do_not_read_each_other_are_not_connected() -> None:
    picture = drawn([row(0, "A"), row(1, "B")], {"p0": ["in"], "p1": ["in"]})
    assert len(picture.arrows) == 2  # in → A and B → out
    assert len(picture.curves) == 1  # in → B


def test_a_long_tree_is_folded_by_its_boxes() -> None:
    rows = tuple(row(i, f"Kind{i}", f"m{i // 10}.layer.{i}") for i in range(MOST_ROWS + 40))
    folded = sections(rows, grouped(rows))
    assert len(folded) == 10
    assert [child for section in folded for child in section.children] == list(rows)
    assert folded[0].parameters == 100
    assert sections(rows[:10], grouped(rows[:10])) == rows[:10]


@pytest.mark.parametrize(
    ("error", "colour"),
    [(None, "en"), (0.0, "e0"), (9e-7, "e1"), (1.1e-6, "e2"), (4e-6, "e3"), (1.1e-5, "e4")],
)
def test_an_error_has_the_colour_of_where_it_lies(error: float | None, colour: str) -> None:
    assert SCALE.colour(error) == colour


def test_what_is_too_far_off_is_never_noise() -> None:
    assert Scale(1e-5, 1e-3).colour(1e-4) == "e4"


def test_the_histogram_has_every_error_once() -> None:
    errors = [0.0, 0.0, 1e-12, 2e-7, 2.1e-7, 1e-5, 3.0, 1e300]
    found = histogram(errors, SCALE)
    assert found.exact == 2
    assert sum(bar.count for bar in found.bars) == 6
    assert [bar.colour for bar in found.bars][-1] == "e4"
    assert all(0 <= bar.left <= bar.left + bar.width <= 1 + 1e-9 for bar in found.bars)
    assert [what for _, what in found.marks] == ["noise", "allowed"]


def test_a_histogram_of_nothing_is_empty() -> None:
    assert histogram([], Scale(1e-5, 0.0)).bars == ()
