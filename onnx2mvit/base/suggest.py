"""Which of the known names is meant, where one was misspelt."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message on an unknown name: ": did you mean A or B?".

    Args:
        word: what was given.
        known: what could have been.
        otherwise: what is said where none of them is near.
    """
    names = {name.lower(): name for name in known}
    near = [repr(names[each]) for each in get_close_matches(word.lower(), names)]
    return f": did you mean {' or '.join(near)}?" if near else otherwise
