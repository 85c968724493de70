"""Uploads to the model hubs, by their own packages and with the user's own token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.errors import Onnx2mvitError
from onnx2mvit.publishing.destination import Destination

EXTRA = "publish"
LOGINS = {
    "hf": "set HF_TOKEN, or run `hf auth login`",
    "kaggle": "set KAGGLE_API_TOKEN (kaggle.com/settings)",
}


def check_login(where: Destination) -> None:
    """Finds out before anything long is done whether there is a token.

    Raises:
        Onnx2mvitError: there is none.
        MissingDependencyError: the hub's package is not installed.
    """
    if where.hub == "hf":
        known = optional("huggingface_hub", EXTRA).get_token() is not None
    else:
        known = optional("kagglehub.config").get_kaggle_credentials() is not None
    if not known:
        raise Onnx2mvitError(f"{where.url}: there is no token of yours here: {LOGINS[where.hub]}")


def upload(folder: Path, where: Destination, *, private: bool, licence: str | None) -> None:
    """Uploads all files of a folder as one version of a repository, which is made if need be.

    What was uploaded before an interruption is not uploaded again where the hub knows of it, and
    nobody sees a version that is not whole.

    Args:
        folder: with the files.
        where: the hub, and the repository there.
        private: whether a repository that is made is for its user alone; Kaggle makes no other,
            and shows what it has to others once the user says so there.
        licence: as the hub calls it.

    Raises:
        Onnx2mvitError: the hub refuses it, or cannot be reached.
    """
    if where.hub == "hf":
        with _refusals_said(where), quiet():
            hub = optional("huggingface_hub", EXTRA).HfApi()
            hub.create_repo(where.place, private=private, exist_ok=True)
            message = "Published by onnx2mvit"
            hub.upload_folder(repo_id=where.place, folder_path=folder, commit_message=message)
    else:
        with _refusals_said(where), quiet():
            kaggle = optional("kagglehub")
            kaggle.model_upload(where.place, str(folder), license_name=licence)


@contextmanager
def _refusals_said(where: Destination) -> Iterator[None]:
    try:
        yield
    # The hubs' packages let errors of their HTTP libraries through, whichever those are.
    except Exception as error:
        raise Onnx2mvitError(
            f"{where.url} was not published: {one_line(error)}. Nothing of it is to be seen there; "
            "the same command goes on with it"
        ) from error
