"""What went wrong, for the person who wrote the plugin."""

from __future__ import annotations

import os
import sys
import traceback

from .errors import Fault

_SDK = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Failure(Exception):
    """Why a call failed: which of its events (from 0, or None), what happened, and where in the source."""

    def __init__(self, index: int | None, message: str, trace: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message
        self.trace = trace

    @classmethod
    def of(cls, error: BaseException, index: int | None = None) -> Failure:
        """The failure that an exception is."""
        failure = cls(index, message(error), trace(error))
        failure.__cause__ = error
        return failure


def message(error: BaseException) -> str:
    """The exception's own text; with its type in front where that is not one of ours."""
    text = str(error)
    if not isinstance(error, Fault):
        name = type(error).__qualname__
        text = f"{name}: {text}" if text else name
    if isinstance(error, ImportError) and sys.platform == "wasi":
        text += " (the sandbox has no files: import it at the top of plugin.py, then it is built in)"
    return text


def trace(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of this SDK."""
    told = traceback.TracebackException.from_exception(error)
    seen: list[traceback.TracebackException] = []
    chain: traceback.TracebackException | None = told
    while chain is not None and chain not in seen:
        seen.append(chain)
        _keep_theirs(chain.stack)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "".join(told.format()).rstrip()


def _keep_theirs(stack: traceback.StackSummary) -> None:
    stack[:] = [frame for frame in stack if not frame.filename.startswith(_SDK)]
    for frame in stack:
        frame.filename = shown_path(frame.filename)


def shown_path(path: str) -> str:
    """A source file as its author knows it: below the project's folder."""
    if sys.platform == "wasi":
        # The build mounts each folder of the path as /0, /1, …
        parts = path.split("/", 2)
        return parts[2] if len(parts) == 3 and parts[1].isdigit() else path
    here = os.getcwd() + os.sep
    return path[len(here) :] if path.startswith(here) else path
