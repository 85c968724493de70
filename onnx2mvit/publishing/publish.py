"""From a converted network to a folder for others, and its upload."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.json_text import json_text
from onnx2mvit.base.output import MARK, temporary_folder, whole_folder
from onnx2mvit.deployment import deploy
from onnx2mvit.errors import UsageError, VerificationError
from onnx2mvit.publishing.card import model_card
from onnx2mvit.publishing.destination import FRAMEWORKS, destination
from onnx2mvit.publishing.hubs import check_login, upload
from onnx2mvit.reports import report_beside

CARD = "README.md"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        url: where it lies, a folder or an address.
        files: their sizes in bytes, by name.
        card: the text of the model card.
        published: False for a dry run.
    """

    url: str
    files: dict[str, int]
    card: str
    published: bool

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return vars(self).copy()


def publish(
    target: str | Path,
    to: str | Path,
    *,
    format: str = "keras",  # noqa: A002 — its name on the command line
    precision: str = "float32",
    license: str | None = None,  # noqa: A002 — its name in a model card
    weights_from: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Publication:
    """Makes a folder with the files of a network and a model card of its report, and uploads it.

    Args:
        target: the folder that `convert` wrote, with a proof.
        to: a folder, `hf://USER/NAME` or `kaggle://USER/MODEL/FRAMEWORK/VARIATION`.
        format: keras for what `convert` wrote, or a format of `deploy`, written and compared here.
        precision: as in `deploy`.
        license: of the weights, by the name that the hub has for it, such as apache-2.0.
        weights_from: who trained them, on what: an address or words.
        private: makes a repository for its user alone.
        dry_run: writes and uploads nothing.
        progress: is told the stage, and how much of it is done.

    Returns:
        Where it lies, its files and its card.

    Raises:
        UsageError: an option makes no sense, there is no proof, or licence or source are not given
            for what others are to see.
        VerificationError: the network, or what was written of it, failed its proof.
        Onnx2mvitError: the hub refuses it, cannot be reached, or has no token.
        MissingDependencyError: a package is not installed.
    """
    check_arguments(locals())
    if format not in FRAMEWORKS:
        raise UsageError(f"format {format!r}: choose from {', '.join(FRAMEWORKS)}")
    where, target = destination(to, format), Path(target)
    progress = progress or (lambda stage, done, total: None)
    report = _proven(target)
    name = report["model"]["name"]
    if where.hub and not private and not dry_run and not (license and weights_from):
        raise UsageError(
            "what others are to see needs --license and --weights-from (who trained the weights, "
            "on what); --private does not"
        )
    if where.hub and not dry_run:
        check_login(where)
    if where.folder is not None and where.folder.resolve() == target.resolve():
        raise UsageError(f"{target} is what is published: choose another folder")
    own = where.folder is not None and not dry_run
    made = whole_folder(Path(to)) if own else nullcontext()
    with temporary_folder() as work:
        folder = work / name
        folder.mkdir()
        progress("files", 0, 1)
        deployed = _collect(target, folder, name, format, precision, progress)
        card = model_card(report, [*_sizes(folder)], format, where, license, weights_from, deployed)
        (folder / CARD).write_text(card, encoding="utf-8")
        sizes = _sizes(folder)
        with made as place:
            if place is not None:
                shutil.copytree(folder, place, dirs_exist_ok=True)
        if where.hub and not dry_run:
            progress("upload", 0, 1)
            upload(folder, where, private=private, licence=license)
    return Publication(where.url, sizes, card, not dry_run)


def _proven(target: Path) -> dict[str, Any]:
    """The report of a conversion that was proven.

    Raises:
        UsageError: there is none.
        VerificationError: it failed.
    """
    report = report_beside(target) if target.is_dir() else {}
    if not report:
        raise UsageError(f"{target} is no folder that `convert` wrote: it has no {MARK}")
    proof = report["verification"]
    if proof is None:
        raise UsageError(f"{target} was converted without a proof: convert it again, with one")
    if proof["verdict"] != "passed":
        raise VerificationError(f"{target} differs from its ONNX file: it is not published")
    if report.get("hard_activations"):
        raise UsageError(
            f"{target} has hard swish in the place of SiLU, with the weights of the file: that was "
            "not proven, and is to be trained further; what was proven is published without it"
        )
    return report


def _collect(
    target: Path, folder: Path, name: str, format_: str, precision: str, progress: Progress
) -> dict[str, Any] | None:
    """Puts the files of a format into a folder, with the reports; gives that of a deployment."""
    kept, deployed = [MARK, "report.html"], None
    if format_ == "keras":
        kept += [f"{name}{ending}" for ending in (".keras", ".py", ".safetensors")]
    else:
        with temporary_folder() as work:
            made = deploy(target, work, format=format_, precision=precision, progress=progress)
            if not made.passed:
                raise VerificationError(f"{format_} of {target} differs: it is not published")
            # The hubs look for a preset where the card lies.
            whole = made.file if format_ == "keras_hub" else made.folder
            shutil.copytree(whole, folder, dirs_exist_ok=True)
            deployed = made.report
    for each in kept:
        if (target / each).exists():
            shutil.copyfile(target / each, folder / each)
    report = report_beside(folder)
    report["onnx"].pop("folder", None)  # of somebody's disk
    (folder / MARK).write_text(json_text(report), encoding="utf-8")
    return deployed


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of all files in a folder, by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}
