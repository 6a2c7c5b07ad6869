// Emmett rebuilds order-summary's two tables: a raw batch SQL projection, rebuilt by its own function.
//
// node project.mjs DATABASE EVENTS.jsonl BATCH
//
// The tables are there and empty. Prints {"events": …, "seconds": …}; appending the events is not timed. A batch size of
// 0 leaves Emmett's default.

import { readFileSync } from 'node:fs';
import { SQL } from '@event-driven-io/dumbo';
import {
  getPostgreSQLEventStore,
  postgreSQLRawBatchSQLProjection,
  rebuildPostgreSQLProjections,
} from '@event-driven-io/emmett-postgresql';

const [database, file, batch] = process.argv.slice(2);
const lines = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));

const STATUS = { OrderPlaced: 'placed', OrderCancelled: 'credited', AdjustmentPosted: 'adjusted' };

/** The statements of one event. A line's customer is that of its order's row, found by the statement itself. */
function changes({ type, data, metadata }) {
  const order = metadata.streamName;
  const status = STATUS[type];
  const statements = [];
  if (status) {
    statements.push(
      SQL`INSERT INTO orders VALUES (${order}, ${data.customer_id}, ${data.country}, 0, 0, 0, ${status}, ${data.occurred_at})`,
    );
    if (data.customer_id !== null) {
      statements.push(
        SQL`INSERT INTO customers VALUES (${data.customer_id}, 1, 0, 0, 0, 0, 0)
            ON CONFLICT (customer_id) DO UPDATE SET orders = customers.orders + 1`,
      );
    }
  }
  if (data.quantity !== undefined) {
    const [quantity, price] = [data.quantity, data.unit_price];
    // One statement for both rows.
    statements.push(
      SQL`WITH line AS (
            UPDATE orders
            SET lines = lines + 1, quantity = quantity + ${quantity}::bigint,
                total = total + ${quantity}::bigint * ${price}::numeric
            WHERE order_id = ${order}
            RETURNING customer_id, status
          )
          UPDATE customers
          SET lines = lines + 1, quantity = quantity + ${quantity}::bigint,
              net = net + ${quantity}::bigint * ${price}::numeric,
              ordered = ordered + CASE line.status WHEN 'placed' THEN ${quantity}::bigint * ${price}::numeric ELSE 0 END,
              returned = returned + CASE line.status WHEN 'credited' THEN ${quantity}::bigint * ${price}::numeric ELSE 0 END
          FROM line WHERE customers.customer_id = line.customer_id`,
    );
  }
  return statements;
}

const projection = postgreSQLRawBatchSQLProjection({
  name: 'order-summary',
  canHandle: ['OrderPlaced', 'LineAdded', 'OrderCancelled', 'LineReturned', 'AdjustmentPosted'],
  evolve: (events) => events.flatMap(changes),
});

const store = getPostgreSQLEventStore(database);
await store.schema.migrate();
for (let from = 0; from < lines.length; ) {
  // Runs of one stream are one append, in the order of the log.
  let until = from;
  while (until < lines.length && lines[until].stream_id === lines[from].stream_id) until += 1;
  const events = lines.slice(from, until).map(({ event_type, data, occurred_at }) => ({
    type: event_type,
    data: { ...data, customer_id: data.customer_id ?? null, occurred_at },
  }));
  await store.appendToStream(lines[from].stream_id, events);
  from = until;
}
await store.close();

const began = performance.now();
const consumer = rebuildPostgreSQLProjections({
  connectionString: database,
  projections: [projection],
  ...(Number(batch) > 0 ? { pulling: { batchSize: Number(batch) } } : {}),
});
await consumer.start();
await consumer.close();
console.log(JSON.stringify({ events: lines.length, seconds: (performance.now() - began) / 1000 }));
process.exit(0);
