-- Each table by one INSERT … SELECT … GROUP BY over the log; lines name no customer, so they are joined to their header.
INSERT INTO orders
SELECT
    stream_id,
    max(data ->> 'customer_id'),
    max(data ->> 'country'),
    count(data -> 'quantity'),
    coalesce(sum((data ->> 'quantity')::bigint), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric), 0),
    CASE min(event_type) FILTER (WHERE event_type IN ('OrderPlaced', 'OrderCancelled', 'AdjustmentPosted'))
        WHEN 'OrderPlaced' THEN 'placed' WHEN 'OrderCancelled' THEN 'credited' ELSE 'adjusted'
    END,
    min(occurred_at) FILTER (WHERE event_type IN ('OrderPlaced', 'OrderCancelled', 'AdjustmentPosted'))
FROM bench_log.log
GROUP BY stream_id;

INSERT INTO customers
WITH header AS MATERIALIZED (
    SELECT stream_id, data ->> 'customer_id' AS customer_id, event_type AS kind
    FROM bench_log.log
    WHERE event_type IN ('OrderPlaced', 'OrderCancelled', 'AdjustmentPosted') AND data ->> 'customer_id' IS NOT NULL
)
SELECT
    header.customer_id,
    count(*) FILTER (WHERE event_type IN ('OrderPlaced', 'OrderCancelled', 'AdjustmentPosted')),
    count(data -> 'quantity'),
    coalesce(sum((data ->> 'quantity')::bigint), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric) FILTER (WHERE kind = 'OrderPlaced'), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric) FILTER (WHERE kind = 'OrderCancelled'), 0)
FROM bench_log.log JOIN header USING (stream_id)
GROUP BY header.customer_id;
