"""What can go wrong, as a user meets it: one message, one exit code each.

====  =====================================================================
code  meaning
====  =====================================================================
0     done
1     something around us failed: no model hub, no disk space, no permission
2     usage: an option or argument makes no sense
3     not a usable ONNX file
4     something in the file is not supported
5     the numbers differ
6     an optional part is not installed
====  =====================================================================
"""

import re


def printable(text: str) -> str:
    """Text without what a terminal takes for a command, breaks a line, hides text or turns it."""
    return "".join(each if each.isprintable() else "�" for each in text)


class Onnx2mvitError(Exception):
    """Base of every error that is meant for the user; its text is the whole message."""

    exit_code = 1

    def __str__(self) -> str:
        """The message in one line; what names in it do to a terminal, or how long they are."""
        text = printable(re.sub(r"\s*[\n\r\t]\s*", " ", super().__str__()))
        return re.sub(r"\S{400,}", lambda word: f"{word[0][:200]}…{word[0][-20:]}", text)


class UsageError(Onnx2mvitError):
    """An option or argument makes no sense."""

    exit_code = 2


class InvalidModelError(Onnx2mvitError):
    """The file is not a usable ONNX model."""

    exit_code = 3


class UnsupportedError(Onnx2mvitError):
    """The model holds something that we do not convert."""

    exit_code = 4


class VerificationError(Onnx2mvitError):
    """Keras and onnxruntime (or onnxruntime and torch) answer differently."""

    exit_code = 5


class MissingDependencyError(Onnx2mvitError):
    """An optional part (a Keras backend, torch, transformers) is not installed."""

    exit_code = 6


# What code that trusts a node to be what the standard says may raise on one that is not.
MALFORMED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
