"""Upcasters: old events in, today's events out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, overload

from . import packed
from .decimals import arithmetic
from .errors import Fault
from .event import Event, read_events
from .json_text import dumps
from .packed import Lifted
from .schema import EventSchema, Rule, UpcasterDescriptor
from .shapes import Read, reader
from .traces import Failure

D = TypeVar("D")
S = TypeVar("S")
_MARK = "__lamphouse_rule__"


class Today:
    """Takes what an event is today, in order. Position, stream, times and id stay those of the stored event; metadata
    stays unless it is given too."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given: list[Lifted] = []

    def give(self, event_type: str, schema_version: int, data: object) -> None:
        """Gives an event with data that :func:`lamphouse.dumps` writes: dicts, dataclasses, …"""
        self.given.append((event_type, schema_version, dumps(data), None))

    def give_with_metadata(
        self, event_type: str, schema_version: int, data: object, metadata: object
    ) -> None:
        """Gives an event with data and metadata; metadata is to be an object."""
        self.given.append((event_type, schema_version, dumps(data), dumps(metadata)))

    def give_json(self, event_type: str, schema_version: int, data: str, metadata: str) -> None:
        """Gives an event whose data and metadata are JSON text already."""
        self.given.append((event_type, schema_version, data, metadata))

    def rename(self, event_type: str, schema_version: int) -> None:
        """Gives the event under another type or version; its data and metadata stay as they are, to the letter."""
        self.given.append((event_type, schema_version, None, None))


_Handler = Callable[[S, Event[D], Today], None]


@overload
def rule(
    takes: EventSchema, gives: EventSchema | Sequence[EventSchema]
) -> Callable[[_Handler[S, Any]], _Handler[S, Any]]: ...


@overload
def rule(
    takes: EventSchema, gives: EventSchema | Sequence[EventSchema], *, data: type[D]
) -> Callable[[_Handler[S, D]], _Handler[S, D]]: ...


def rule(
    takes: EventSchema, gives: EventSchema | Sequence[EventSchema], *, data: Any = None
) -> Callable[[_Handler[S, Any]], _Handler[S, Any]]:
    """Makes a method of an :class:`Upcaster` take events of one type and version, and says what it may give::

        @rule(("LineAdded", 1), ("LineAdded", 2))
        def line(self, event: Event, today: Today) -> None:
            today.give("LineAdded", 2, {"sku": event.data["sku"]})

    ``data`` names a dataclass that ``event.data`` is then. Only one upcaster of a host may take a schema, and no chain
    of rules may come back to where it was.
    """
    given = [gives] if isinstance(gives, tuple) and len(gives) == 2 and isinstance(gives[0], str) else gives
    made = Rule(_schema(takes), tuple(_schema(schema) for schema in given))
    read = None if data is None else reader(data)

    def mark(handler: Any) -> Any:
        if not inspect.isfunction(handler):
            raise TypeError("@rule stands above a method: def line(self, event, today)")
        if inspect.iscoroutinefunction(handler) or inspect.isgeneratorfunction(handler):
            raise TypeError(f"{handler.__name__} is async or a generator; a rule is a plain method")
        handler.__dict__.setdefault(_MARK, []).insert(0, (made, read))
        return handler

    return mark


def _schema(schema: Any) -> EventSchema:
    match schema:
        case (str() as event_type, int() as version) if not isinstance(version, bool):
            return event_type, version
    raise TypeError(f'a schema is an event type and its version, such as ("LineAdded", 1); {schema!r} is not')


class Upcaster:
    """Lifts events of old schemas to newer ones, between the log and the projectors; the log itself stays as it is::

        class Prices(Upcaster):
            name = "prices"
            version = "1.0.0"
            drops = [("CartViewed", 1)]

            @rule(("CustomerSignedUp", 1), ("CustomerRegistered", 1))
            def registered(self, event: Event, today: Today) -> None:
                today.rename("CustomerRegistered", 1)

    What comes out of an event may depend on that event alone, and is lifted again, by this upcaster or another, until
    nothing takes it.
    """

    #: Lower-case letters, digits, ``-`` and ``_``; at most 48 characters.
    name: ClassVar[str] = ""
    #: Raise it whenever other events would come out.
    version: ClassVar[str] = ""
    #: Event types and versions that become nothing.
    drops: ClassVar[Sequence[EventSchema]] = ()
    #: Options for the host, which refuses those that it does not know.
    options: ClassVar[dict[str, str]] = {}


def upcaster_descriptor(upcaster: type[Upcaster]) -> UpcasterDescriptor:
    """What the host is told of an upcaster."""
    rules = [made for _, made, _ in _rules(upcaster)]
    rules += [Rule(_schema(takes)) for takes in upcaster.drops]
    return UpcasterDescriptor(upcaster.name, upcaster.version, tuple(rules), tuple(upcaster.options.items()))


def _rules(upcaster: type[Upcaster]) -> Iterator[tuple[str, Rule, Read | None]]:
    names = dict.fromkeys(name for kind in reversed(upcaster.__mro__) for name in kind.__dict__)
    for name in names:
        for made, read in getattr(getattr(upcaster, name), _MARK, ()):
            yield name, made, read


class PreparedUpcaster:
    """An upcaster, ready for calls."""

    def __init__(self, upcaster: type[Upcaster]) -> None:
        self.upcaster = upcaster
        self._rules = {made.takes: (name, read) for name, made, read in _rules(upcaster)}
        self._drops = frozenset(_schema(takes) for takes in upcaster.drops)

    def run(self, events: bytes) -> bytes:
        """One call: packed events in, what each became out. Raises :class:`Failure`."""
        index = None
        try:
            with arithmetic():
                upcaster = self.upcaster()
                out = bytearray()
                batch = read_events(events)
                for index, event in enumerate(batch):
                    packed.write_lifted(out, self.lift(upcaster, event))
                return bytes(out)
        except BaseException as error:
            raise Failure.of(error, index) from error

    def lift(self, upcaster: Upcaster, event: Event[Any]) -> list[Lifted]:
        """What one event became."""
        schema = (event.event_type, event.schema_version)
        if schema in self._drops:
            return []
        found = self._rules.get(schema)
        if found is None:
            raise Fault(f"no rule takes {event.event_type} {event.schema_version}")
        name, read = found
        if read is not None:
            event._as(read)
        today = Today()
        getattr(upcaster, name)(event, today)
        return today.given
