"""Write Lamphouse plugins in Python: projectors (events in, rows out) and upcasters (old events in, today's out).

See README.md beside this package for a whole plugin, its tests, and what a plugin may and may not use.
"""

from . import log
from .errors import Fault, PackedError, Refused, Violation
from .event import Event
from .json_text import Number, dumps, loads
from .projector import Projector, on, on_every_event
from .randomness import Random
from .row import Json, column, decimal, index, key, table
from .tables import Tables, Wanted, add
from .upcaster import Today, Upcaster, rule

__version__ = "0.1.0"

__all__ = [
    "Event",
    "Fault",
    "Json",
    "Number",
    "PackedError",
    "Projector",
    "Random",
    "Refused",
    "Tables",
    "Today",
    "Upcaster",
    "Violation",
    "Wanted",
    "add",
    "column",
    "decimal",
    "dumps",
    "index",
    "key",
    "loads",
    "log",
    "on",
    "on_every_event",
    "rule",
    "table",
]
