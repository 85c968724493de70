"""An evaluation for its page: with words for what networks take, and for their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx2mvit.reports.wording import pixels


def evaluation_view(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What the template is given, of what an evaluation's JSON holds."""
    targets = [
        each
        | {
            "preprocessing_told": f"{'×'.join(map(str, each['size']))} pixels: "
            + pixels(each["preprocessing"]),
            "random": "random" in (each["weights"] or ""),
        }
        for each in evaluation["targets"]
    ]
    names = [each["name"] for each in targets]
    pictures = [
        each | {"said": _by_answer(names, each["answers"])} for each in evaluation["pictures"]
    ]
    return evaluation | {"targets": targets, "pictures": pictures}


def _by_answer(names: Sequence[str], answers: Sequence[str]) -> dict[str, str]:
    """Who gives each answer; a count of those that most give, if these are three or more."""
    found: dict[str, list[str]] = {}
    for name, answer in zip(names, answers, strict=True):
        found.setdefault(answer, []).append(name)
    if len(found) == 1:
        return dict.fromkeys(found, "all" if len(names) > 1 else "")
    most = max(found, key=lambda answer: len(found[answer]))
    return {
        answer: f"the other {len(who)}" if answer == most and len(who) > 2 else ", ".join(who)
        for answer, who in found.items()
    }
