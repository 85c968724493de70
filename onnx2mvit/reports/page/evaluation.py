"""An evaluation for its page: with words for what networks take, and for their answers."""

from __future__ import annotations

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
    pictures = [each | {"same": len(set(each["answers"])) == 1} for each in evaluation["pictures"]]
    return evaluation | {"targets": targets, "pictures": pictures}
