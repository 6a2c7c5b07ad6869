"""The sandbox's side, as far as projectors and upcasters share it. Loaded at build time, within the component: what is
in memory then is what every call begins with."""

from __future__ import annotations

import gc
import importlib
import linecache
import os
import random
import sys

from componentize_py_types import Err
from wit_world.imports import log as wit_log
from wit_world.imports import types as wit

from . import log
from .traces import Failure

# Modules that Python imports only when they are needed, which is too late in the sandbox: it has no files. What plugins
# import within functions is in `lamphouse_imports`, which the build writes.
_NEEDED_LATER = (
    "_strptime",  # datetime.strptime
    "calendar",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_16",
    "encodings.utf_8_sig",
    "lamphouse_imports",
    "time",
    "unicodedata",
    "uuid",
)

_LEVELS = {level.name.lower(): level for level in wit_log.Level}


def prepare() -> None:
    """Loads what is needed later, sends log lines to the host, keeps the author's source lines for tracebacks, and
    leaves a tidy heap behind."""
    log.write = lambda level, message: wit_log.write(_LEVELS[level], _clean(message))
    for name in _NEEDED_LATER:
        importlib.import_module(name)
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path is not None and _is_theirs(path):
            _keep_lines(path)
    # Each call seeds it anew, from the host; this is for the bytes of the component.
    random.seed(0)
    gc.collect()
    # What is there now is never garbage, and looking at it would copy its memory in each call.
    gc.freeze()
    # A call is short: what reference counts do not free may mostly wait for its end.
    gc.set_threshold(50_000, 20, 20)


def failed(failure: Failure) -> Exception:
    """What an exported function raises for the host to see this failure."""
    error: Exception = Err(wit.Failure(failure.index, _clean(failure.message), _clean(failure.trace)))
    return error


def _clean(text: str) -> str:
    """Half a surrogate pair cannot cross the boundary."""
    return text.encode("utf-8", "replace").decode()


def _is_theirs(path: str) -> bool:
    """Whether a source file is the author's: in the folder that the build mounts, and not of the SDK."""
    sdk = os.path.dirname(__file__)
    return (
        path.endswith(".py")
        and path.startswith(os.path.dirname(sdk) + "/")
        and not path.startswith(sdk + "/")
    )


def _keep_lines(path: str) -> None:
    with open(path, encoding="utf-8") as source:
        lines = source.readlines()
    # Without a time of change, nobody looks whether the file is still the same.
    linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
