"""Lines for the host's log: shown with the projection's status, and capped for each call.

``print`` goes there too, as info.
"""

from __future__ import annotations

from collections.abc import Callable

# What takes a level (trace, debug, info, warn, error) and a line. The sandbox and the test harness put theirs here.
write: Callable[[str, str], None] = lambda level, message: None  # noqa: E731


def trace(message: object) -> None:
    """For following every step."""
    write("trace", str(message))


def debug(message: object) -> None:
    """For finding mistakes."""
    write("debug", str(message))


def info(message: object) -> None:
    """Worth knowing."""
    write("info", str(message))


def warn(message: object) -> None:
    """Looks wrong."""
    write("warn", str(message))


def error(message: object) -> None:
    """Is wrong."""
    write("error", str(message))
