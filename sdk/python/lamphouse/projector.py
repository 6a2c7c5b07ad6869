"""Projectors: events in, rows out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, cast, overload

from .decimals import arithmetic
from .errors import Fault
from .event import Event, read_events
from .memo import Host
from .row import Table, table_of
from .schema import Descriptor, Subscription
from .shapes import Read, reader
from .tables import Tables, Wanted
from .traces import Failure

D = TypeVar("D")
S = TypeVar("S")
_Handler = Callable[[S, Event[D], Tables], None]
_MARK = "__lamphouse_on__"


class _On:
    """What a handler takes."""

    def __init__(self, subscription: Subscription, read: Read | None) -> None:
        self.subscription = subscription
        self.read = read


@overload
def on(
    *event_types: str, stream_type: str | None = None, versions: Sequence[int] = ()
) -> Callable[[_Handler[S, Any]], _Handler[S, Any]]: ...


@overload
def on(
    *event_types: str, data: type[D], stream_type: str | None = None, versions: Sequence[int] = ()
) -> Callable[[_Handler[S, D]], _Handler[S, D]]: ...


def on(
    *event_types: str, data: Any = None, stream_type: str | None = None, versions: Sequence[int] = ()
) -> Callable[[_Handler[S, Any]], _Handler[S, Any]]:
    """Makes a method of a :class:`Projector` take events of these types::

        @on("OrderPlaced")
        def placed(self, event: Event, tables: Tables) -> None: ...

    ``data`` names a dataclass that ``event.data`` is then; ``versions`` takes only these schema versions,
    ``stream_type`` only events of such streams (without event types: all of them). Each method whose ``@on`` an event
    matches is called, in the order of the class.
    """
    if not event_types and stream_type is None:
        raise TypeError("@on needs an event type, or a stream type; @on_every_event takes all events")
    return _marked(
        [Subscription(name, stream_type, tuple(versions)) for name in event_types or (None,)],
        None if data is None else reader(data),
    )


def on_every_event(handler: _Handler[S, Any]) -> _Handler[S, Any]:
    """Makes a method of a :class:`Projector` take every event of the log."""
    marked: _Handler[S, Any] = _marked([Subscription()], None)(handler)
    return marked


def _marked(subscriptions: list[Subscription], read: Read | None) -> Callable[[Any], Any]:
    def mark(handler: Any) -> Any:
        if not inspect.isfunction(handler):
            raise TypeError("@on stands above a method: def placed(self, event, tables)")
        if inspect.iscoroutinefunction(handler) or inspect.isgeneratorfunction(handler):
            raise TypeError(f"{handler.__name__} is async or a generator; a handler is a plain method")
        marks = handler.__dict__.setdefault(_MARK, [])
        marks[:0] = [_On(subscription, read) for subscription in subscriptions]
        return handler

    return mark


class Projector:
    """Turns events into rows. Name it, say its version and its tables, and give it a method for each event type::

        class Orders(Projector):
            name = "orders"
            version = "1.0.0"
            tables = [Order]

            @on("OrderPlaced")
            def placed(self, event: Event, tables: Tables) -> None:
                tables.put(Order(order_id=event.stream_id, ...))

    Each call of the host makes a new instance for any number of events, so nothing may be kept in it: what should be
    remembered goes into a row. An exception drops all changes of the call, and the host shows it with its traceback.
    """

    #: Lower-case letters, digits, ``-`` and ``_``; at most 48 characters.
    name: ClassVar[str] = ""
    #: Raise it whenever the rows would come out differently: the tables are then built anew beside the live ones.
    version: ClassVar[str] = ""
    #: Classes with ``@table``.
    tables: ClassVar[Sequence[type]] = ()
    #: Options for the host, which refuses those that it does not know. ``{"partition": "stream"}`` says that each row
    #: depends on the events of one stream, whose id is the first column of each table's key.
    options: ClassVar[dict[str, str]] = {}

    def prefetch(self, event: Event[Any], wanted: Wanted) -> None:
        """Names the rows that this event's handlers will read (``wanted.row(Order, event.stream_id)``), so that those
        of a whole batch are read together. It saves time, and changes no row."""


def descriptor(projector: type[Projector]) -> Descriptor:
    """What the host is told of a projector."""
    return Descriptor(
        projector.name,
        projector.version,
        tuple(dict.fromkeys(mark.subscription for _, mark in _handlers(projector))),
        tuple(table.schema for table in tables_of(projector)),
        tuple(projector.options.items()),
    )


def tables_of(projector: type[Projector]) -> list[Table]:
    """A projector's tables, in their order."""
    return [table_of(row_type) for row_type in projector.tables]


def _handlers(projector: type[Projector]) -> Iterator[tuple[str, _On]]:
    """The names of a projector's handlers and what they take; those of base classes first."""
    names = dict.fromkeys(name for kind in reversed(projector.__mro__) for name in kind.__dict__)
    for name in names:
        for mark in getattr(getattr(projector, name), _MARK, ()):
            yield name, mark


class Prepared:
    """A projector, ready for calls."""

    def __init__(self, projector: type[Projector]) -> None:
        self.projector = projector
        self.tables = tables_of(projector)
        self._handlers = list(_handlers(projector))
        self._names_rows = projector.prefetch is not Projector.prefetch
        # Whether the event type alone says which handlers take an event.
        self._by_type = all(
            mark.subscription.stream_type is None and not mark.subscription.schema_versions
            for _, mark in self._handlers
        )

    def run(self, events: bytes, host: Host) -> bytes:
        """One call: packed events in, packed changes out. Raises :class:`Failure`."""
        index = None
        try:
            with arithmetic():
                projector = self.projector()
                tables = Tables(self.tables, host)
                batch = read_events(events)
                if self._names_rows:
                    wanted = tables.wanted()
                    for event in batch:
                        projector.prefetch(event, wanted)
                    tables.prefetch(wanted)
                found: dict[object, list[tuple[Callable[..., None], Read | None]]] = {}
                for index, event in enumerate(batch):
                    known: object = event.event_type
                    if not self._by_type:
                        known = (known, event.stream_type, event.schema_version)
                    handlers = found.get(known)
                    if handlers is None:
                        handlers = found[known] = self._find(projector, event)
                    for handler, read in handlers:
                        if read is not None or len(handlers) > 1:
                            event._as(read)
                        handler(event, tables)
                    if tables.broken is not None:
                        raise Fault(
                            f"the projector went on after a failure of its tables: {tables.broken}"
                        ) from tables.broken
                index = None
                return tables.finish()
        except BaseException as error:
            raise Failure.of(error, index) from error

    def _find(self, projector: Projector, event: Event[Any]) -> list[tuple[Callable[..., None], Read | None]]:
        handlers: dict[str, tuple[Callable[..., None], Read | None]] = {}
        for name, mark in self._handlers:
            if mark.subscription.takes(event.event_type, event.stream_type, event.schema_version):
                handlers.setdefault(name, (cast("Callable[..., None]", getattr(projector, name)), mark.read))
        return list(handlers.values())
