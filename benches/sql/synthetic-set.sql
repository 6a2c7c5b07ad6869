-- Each table by one INSERT … SELECT … GROUP BY over the log; the index after the load.
INSERT INTO shop_orders
SELECT
    stream_id,
    max(data ->> 'customer_id'),
    CASE
        WHEN bool_or(event_type = 'OrderCancelled') THEN 'cancelled'
        WHEN bool_or(event_type = 'OrderShipped') THEN 'shipped'
        WHEN bool_or(event_type = 'OrderPaid') THEN 'paid'
        ELSE 'placed'
    END,
    count(data -> 'quantity'),
    coalesce(sum((data ->> 'quantity')::bigint), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric), 0),
    min(occurred_at)
FROM bench_log.log
GROUP BY stream_id;

CREATE INDEX shop_orders_by_customer ON shop_orders (customer_id);

INSERT INTO shop_customers
SELECT
    data ->> 'customer_id',
    count(*) FILTER (WHERE event_type = 'OrderPlaced'),
    count(data -> 'quantity'),
    coalesce(sum((data ->> 'quantity')::bigint), 0),
    coalesce(sum((data ->> 'quantity')::bigint * (data ->> 'unit_price')::numeric), 0)
        - coalesce(sum((SELECT total FROM shop_orders WHERE order_id = stream_id)) FILTER (WHERE event_type = 'OrderCancelled'), 0),
    count(*) FILTER (WHERE event_type = 'OrderCancelled')
FROM bench_log.log
GROUP BY data ->> 'customer_id';
