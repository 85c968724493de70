"""Asks the Hugging Face hub, or its local cache, without waiting for a hub that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.errors import InvalidModelError, Onnx2mvitError

_T = TypeVar("_T")
_SECONDS = 10.0


class HubError(Onnx2mvitError):
    """The hub cannot be reached, or has no such repository."""


def probe(repository: str) -> None:
    """Raises at once what a download would raise only after half a minute of retries."""
    optional("huggingface_hub").HfApi().model_info(repository, timeout=_SECONDS)


def from_cache_or_hub(read: Callable[[bool], _T], repository: str) -> _T:
    """Calls `read(True)` for what is on this machine, then `read(False)` for the hub.

    Args:
        read: reads a file, or files, of the repository; from the cache alone if it is given True.
        repository: OWNER/NAME, or a folder on this machine.

    Returns:
        What `read` gave.

    Raises:
        HubError: the hub cannot be reached, or has no such repository or file.
        InvalidModelError: what is on this machine is damaged.
        MissingDependencyError: huggingface_hub is not installed.
    """
    with quiet():
        try:
            return read(True)
        except OSError as error:
            if Path(repository).is_dir():
                raise HubError(
                    f"the folder {repository} is incomplete: {one_line(error)}"
                ) from error
        # What is here but damaged fails in as many ways as there are file formats.
        except Exception as error:
            raise InvalidModelError(f"{repository} cannot be loaded: {one_line(error)}") from error
        try:
            probe(repository)
            return read(False)
        # The hub's client lets errors of its HTTP library through, whichever that is.
        except Exception as error:
            raise HubError(
                f"the Hugging Face hub gave no {repository}, nor is it in the local cache "
                f"({one_line(error)})"
            ) from error
