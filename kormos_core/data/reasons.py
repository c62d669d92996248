"""What an error of Keras or of a backend says, in one line."""

from __future__ import annotations

import re

__all__ = ["reason_of"]

_ANSI = re.compile(r"\x1b\[\d*m")  # Keras prints its reasons in bold
_NODE = re.compile(r"\{\{[^{}]*\}\}\s*")  # which operation it was, in the backend's own words
_OPERATION = re.compile(r"[ \t]*\[Op:\w*\](?: name:[ \t]*\S*)?[ \t]*")
_NUMBER = r"[\[\]]*-?\d[\d.eE+\-]*[\[\]]*"
_NUMBERS = re.compile(rf"{_NUMBER}(?:[\s,]+{_NUMBER}){{7,}}")  # a whole array
_ROOT = re.compile(r"^\(\d+\)\s+[A-Z_ ]+:\s*")  # one of several causes
_FRAME = (
    "Exception encountered",
    "Graph execution error",
    "Detected at node",
    "File ",
    "<stack traces",
    "Traceback (most recent",
    "[[",
)


def reason_of(error: BaseException) -> str:
    """Return the first line of an error that says what is wrong.

    Parameters
    ----------
    error : BaseException
        An error of Keras or of a backend, whose messages begin with the places in the
        graph and in the program that it came through.

    Returns
    -------
    str
        One line of at most 300 characters, without the contents of arrays.
    """
    text = _OPERATION.sub("", _NUMBERS.sub("[...]", _ANSI.sub("", str(error))))
    lines = (_ROOT.sub("", _NODE.sub("", line).strip()) for line in text.splitlines())
    told = [line for line in lines if line and not _is_frame(line)]
    return f"{told[0].rstrip('.'):.300}" if told else "it gives no reason"


def _is_frame(line: str) -> bool:
    return line.startswith(_FRAME) or re.match(r"\d+ root error", line) is not None
