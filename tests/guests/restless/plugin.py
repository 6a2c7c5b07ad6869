"""Writes what its clock and its random source say, fails, and breaks."""

import random
from datetime import UTC, datetime

from lamphouse import Event, Projector, Tables, key, on, table


@table("readings")
class Reading:
    """What was read."""

    stream_id: str = key()
    clock: str
    chance: str


class Restless(Projector):
    """Does what a projector should not."""

    name = "restless"
    version = "0.1.0"
    tables = [Reading]

    @on("Ticked")
    def ticked(self, event: Event, tables: Tables) -> None:
        now = datetime.now(UTC).isoformat()
        tables.put(Reading(stream_id=event.stream_id, clock=now, chance=str(random.random())))

    @on("Erred")
    def erred(self, event: Event, tables: Tables) -> None:
        raise ValueError(f"the weather in {event.stream_id} is bad")

    @on("Broke")
    def broke(self, event: Event, tables: Tables) -> None:
        deeper({})


def deeper(readings: dict[str, int]) -> int:
    return readings["gone"]
