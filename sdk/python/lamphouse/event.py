"""One event, read from the bytes of the call as far as it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from . import timestamps
from .errors import Fault, PackedError
from .json_text import loads
from .packed import SIZES, read_array, read_value, skip
from .randomness import Random

D = TypeVar("D", covariant=True)

_ENTRIES = 12
_UNREAD: Any = object()


class Event(Generic[D]):
    """One event.

    ``data`` is what its JSON holds: whole numbers are int of any size, other numbers :class:`Number` (a Decimal, exact
    as written); or the dataclass that ``@on(…, data=…)`` names. The sandbox has no clock and no chance but
    :attr:`occurred_at` and :meth:`random`.
    """

    __slots__ = (
        "_bytes",
        "_data",
        "_data_at",
        "_read_data",
        "_rest",
        "_start",
        "event_type",
        "schema_version",
        "stream_id",
    )

    #: For example ``OrderPlaced``.
    event_type: str
    #: Version of the event type's schema, after upcasting.
    schema_version: int
    #: The stream.
    stream_id: str

    _bytes: bytes
    _start: int
    _data_at: int
    _data: Any
    _rest: list[Any] | None
    _read_data: Callable[[Any], Any] | None

    @property
    def data(self) -> D:
        """The event's data, parsed."""
        data = self._data
        if data is _UNREAD:
            data = self._parsed("data", self.data_json)
            read = self._read_data
            if read is not None:
                try:
                    data = read(data)
                except Fault as fault:
                    raise Fault(f"data of {self.event_type}: {fault}") from None
            self._data = data
        return data  # type: ignore[no-any-return]

    @property
    def data_json(self) -> str:
        """The event's data as JSON text, to the letter."""
        return _text(self._bytes, self._data_at)[0]

    @property
    def metadata(self) -> dict[str, Any]:
        """The event's metadata, parsed."""
        metadata: dict[str, Any] = self._parsed("metadata", self.metadata_json)
        return metadata

    @property
    def metadata_json(self) -> str:
        """The event's metadata as JSON text, to the letter."""
        return self._entry(9)  # type: ignore[no-any-return]

    @property
    def position(self) -> int:
        """The stored event's place in the log, from 1."""
        return self._entry(0)  # type: ignore[no-any-return]

    @property
    def part(self) -> int:
        """Its place among the siblings that upcasters made of one stored event, from 0."""
        return self._entry(1)  # type: ignore[no-any-return]

    @property
    def id(self) -> str:
        """The stored event's id."""
        return self._entry(2)  # type: ignore[no-any-return]

    @property
    def stream_type(self) -> str:
        """The stream's type."""
        return self._entry(4)  # type: ignore[no-any-return]

    @property
    def stream_version(self) -> int:
        """The stored event's place in its stream, from 1."""
        return self._entry(5)  # type: ignore[no-any-return]

    @property
    def occurred_at(self) -> datetime:
        """When it happened, in UTC. The only clock that a projector should look at."""
        return timestamps.to_datetime(self._entry(10))

    @property
    def recorded_at(self) -> datetime:
        """When the log stored it, in UTC."""
        return timestamps.to_datetime(self._entry(11))

    def random(self) -> Random:
        """A new generator of random numbers, which are the same whenever this event is projected."""
        return Random(self.id, self.part)

    def _as(self, read: Callable[[Any], Any] | None) -> None:
        """Makes ``data`` what this makes of its JSON."""
        self._data, self._read_data = _UNREAD, read

    def __repr__(self) -> str:
        return f"<{self.event_type} {self.schema_version} of {self.stream_id} at {self.position}>"

    def _parsed(self, what: str, text: str) -> Any:
        try:
            return loads(text)
        except (ValueError, RecursionError) as error:
            raise Fault(f"{what} of {self.event_type}: {error}") from None

    def _entry(self, place: int) -> Any:
        entries = self._rest
        if entries is None:
            entries = []
            _, at = read_array(self._bytes, self._start)
            for _ in range(_ENTRIES):
                value, at = read_value(self._bytes, at)
                entries.append(value)
            self._rest = entries
        return entries[place]


def read_events(data: bytes) -> list[Event[Any]]:
    """The events of a call, in order. PackedError where the bytes are none."""
    events: list[Event[Any]] = []
    at, end = 0, len(data)
    try:
        while at < end:
            event, at = _read_event(data, at)
            events.append(event)
    except IndexError:
        raise PackedError("the bytes end within an event") from None
    except UnicodeDecodeError as error:
        raise PackedError(f"a text of an event: {error}") from None
    # Entries are passed over by their lengths alone, so that one look at the end is enough.
    if at != end:
        raise PackedError("the bytes end within an event")
    return events


def _read_event(data: bytes, start: int) -> tuple[Event[Any], int]:
    """The event that begins here, and where it ends: what most plugins look at is read, the rest passed over."""
    entries = data[start]
    if entries == 0x9C:
        at = start + 1
    else:
        entries, at = read_array(data, start)
        if entries != _ENTRIES:
            raise PackedError(f"an event has {entries} entries instead of {_ENTRIES}")
    event: Event[Any] = Event.__new__(Event)
    event._bytes = data
    event._start = start
    event._rest = None
    event._data = _UNREAD
    event._read_data = None
    # Position and part are numbers, the id mostly a text of 36 bytes.
    at += SIZES[data[at]] or skip(data, at) - at
    at += SIZES[data[at]] or skip(data, at) - at
    at = at + 2 + data[at + 1] if data[at] == 0xD9 else skip(data, at)
    event.stream_id, at = _text(data, at)
    at += SIZES[data[at]] or skip(data, at) - at
    at += SIZES[data[at]] or skip(data, at) - at
    event.event_type, at = _text(data, at)
    version = data[at]
    if version < 0x80:
        event.schema_version = version
        at += 1
    else:
        event.schema_version, at = read_value(data, at)  # type: ignore[assignment]
    event._data_at = at
    # Data, metadata, and two timestamps.
    at = at + 2 + data[at + 1] if data[at] == 0xD9 else skip(data, at)
    at = at + 2 + data[at + 1] if data[at] == 0xD9 else skip(data, at)
    at += SIZES[data[at]] or skip(data, at) - at
    at += SIZES[data[at]] or skip(data, at) - at
    return event, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    tag = data[at]
    if 0xA0 <= tag < 0xC0:
        end = at - 0x9F + tag
        return data[at + 1 : end].decode(), end
    if tag == 0xD9 and at + 2 + data[at + 1] <= len(data):
        end = at + 2 + data[at + 1]
        return data[at + 2 : end].decode(), end
    text, end = read_value(data, at)
    if type(text) is not str:
        raise PackedError(f"byte {at}: a text is due")
    return text, end
