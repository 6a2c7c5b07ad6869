CREATE INDEX shop_orders_by_customer ON shop_orders (customer_id);
CREATE TABLE events (LIKE bench_log.log INCLUDING DEFAULTS, PRIMARY KEY (position));

CREATE FUNCTION project() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    customer text;
    amount   bigint;
    value    numeric;
BEGIN
    CASE NEW.event_type
    WHEN 'LineAdded' THEN
        amount := (NEW.data ->> 'quantity')::bigint;
        value := amount * (NEW.data ->> 'unit_price')::numeric;
        UPDATE shop_orders SET lines = lines + 1, quantity = quantity + amount, total = total + value
        WHERE order_id = NEW.stream_id;
        UPDATE shop_customers SET lines = lines + 1, quantity = quantity + amount, net = net + value
        WHERE customer_id = NEW.data ->> 'customer_id';
    WHEN 'OrderPlaced' THEN
        customer := NEW.data ->> 'customer_id';
        INSERT INTO shop_orders VALUES (NEW.stream_id, customer, 'placed', 0, 0, 0, NEW.occurred_at);
        INSERT INTO shop_customers VALUES (customer, 1, 0, 0, 0, 0)
        ON CONFLICT (customer_id) DO UPDATE SET orders = shop_customers.orders + 1;
    WHEN 'OrderPaid' THEN
        UPDATE shop_orders SET status = 'paid' WHERE order_id = NEW.stream_id;
    WHEN 'OrderShipped' THEN
        UPDATE shop_orders SET status = 'shipped' WHERE order_id = NEW.stream_id;
    WHEN 'OrderCancelled' THEN
        -- The update gives back what a look-up would have to read.
        UPDATE shop_orders SET status = 'cancelled' WHERE order_id = NEW.stream_id RETURNING total INTO STRICT value;
        UPDATE shop_customers SET net = net - value, cancelled = cancelled + 1
        WHERE customer_id = NEW.data ->> 'customer_id';
    END CASE;
    RETURN NULL;
END
$$;

CREATE TRIGGER project AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION project();
