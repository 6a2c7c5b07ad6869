"""Python's eventsourcing rebuilds order-summary's two tables: a Projection over a PostgresTrackingRecorder.

python project.py HOST PORT USER DATABASE EVENTS.jsonl

The tables are there and empty. Prints {"events": …, "seconds": …}; storing the events is not timed. As the library's
documentation has it, each event's changes and its position go in one transaction; statements are prepared.
"""

import json
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

HOST, PORT, USER, DATABASE, FILE = sys.argv[1:]
STATUS = {"OrderPlaced": "placed", "OrderCancelled": "credited", "AdjustmentPosted": "adjusted"}
SPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True)
class Recorded(DomainEvent):
    """One event of the log."""

    order: str
    kind: str
    customer: str | None
    country: str | None
    quantity: int | None
    price: str | None
    occurred_at: str


class Shop(Application[uuid.UUID]):
    name = "shop"


class View(PostgresTrackingRecorder):
    """The two tables."""

    OPEN = "INSERT INTO public.orders VALUES (%s, %s, %s, 0, 0, 0, %s, %s)"
    CUSTOMER = (
        "INSERT INTO public.customers VALUES (%s, 1, 0, 0, 0, 0, 0) "
        "ON CONFLICT (customer_id) DO UPDATE SET orders = customers.orders + 1"
    )
    # One statement for both rows.
    LINE = (
        "WITH line AS (UPDATE public.orders SET lines = lines + 1, quantity = quantity + %(q)s::bigint, "
        "total = total + %(q)s::bigint * %(p)s::numeric WHERE order_id = %(order)s RETURNING customer_id, status) "
        "UPDATE public.customers SET lines = lines + 1, quantity = quantity + %(q)s::bigint, "
        "net = net + %(q)s::bigint * %(p)s::numeric, "
        "ordered = ordered + CASE line.status WHEN 'placed' THEN %(q)s::bigint * %(p)s::numeric ELSE 0 END, "
        "returned = returned + CASE line.status WHEN 'credited' THEN %(q)s::bigint * %(p)s::numeric ELSE 0 END "
        "FROM line WHERE customers.customer_id = line.customer_id"
    )

    def take(self, event: Recorded, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            status = STATUS.get(event.kind)
            if status:
                opened = (event.order, event.customer, event.country, status, event.occurred_at)
                cursor.execute(self.OPEN, opened, prepare=True)
                if event.customer is not None:
                    cursor.execute(self.CUSTOMER, (event.customer,), prepare=True)
            if event.quantity is not None:
                line = {"q": event.quantity, "p": event.price, "order": event.order}
                cursor.execute(self.LINE, line, prepare=True)


class OrderSummary(Projection[View]):
    name = "order_summary"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.take(domain_event, tracking)


ENVIRONMENT = {
    "PERSISTENCE_MODULE": "eventsourcing.postgres",
    "POSTGRES_DBNAME": DATABASE,
    "POSTGRES_HOST": HOST,
    "POSTGRES_PORT": PORT,
    "POSTGRES_USER": USER,
    "POSTGRES_PASSWORD": "none",
    "SINGLE_ROW_TRACKING": "y",
}


def store() -> int:
    """Stores the events as the application would; gives how many."""
    versions: dict[str, int] = {}
    shop = Shop(env=ENVIRONMENT)
    waiting = []
    events = 0
    with open(FILE, encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            stream, data = told["stream_id"], told["data"]
            versions[stream] = versions.get(stream, 0) + 1
            event = Recorded(
                originator_id=uuid.uuid5(SPACE, stream),
                originator_version=versions[stream],
                timestamp=Recorded.create_timestamp(),
                order=stream,
                kind=told["event_type"],
                customer=data.get("customer_id"),
                country=data.get("country"),
                quantity=data.get("quantity"),
                price=data.get("unit_price"),
                occurred_at=told["occurred_at"],
            )
            waiting.append(shop.mapper.to_stored_event(event))
            events += 1
            if len(waiting) == 1000:
                shop.recorder.insert_events(waiting)
                waiting = []
    if waiting:
        shop.recorder.insert_events(waiting)
    shop.close()
    return events


EVENTS = store()
began = time.perf_counter()
with ProjectionRunner(
    application_class=Shop, projection_class=OrderSummary, view_class=View, env=ENVIRONMENT
) as runner:
    runner.wait(EVENTS, timeout=600)
    seconds = time.perf_counter() - began
print(json.dumps({"events": EVENTS, "seconds": seconds}))
