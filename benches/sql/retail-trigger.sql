CREATE TABLE events (LIKE bench_log.log INCLUDING DEFAULTS, PRIMARY KEY (position));

CREATE FUNCTION project() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    customer text;
    kind     text;
    amount   bigint;
    value    numeric;
BEGIN
    IF NEW.event_type IN ('OrderPlaced', 'OrderCancelled', 'AdjustmentPosted') THEN
        customer := NEW.data ->> 'customer_id';
        kind := CASE NEW.event_type WHEN 'OrderPlaced' THEN 'placed' WHEN 'OrderCancelled' THEN 'credited' ELSE 'adjusted' END;
        INSERT INTO orders VALUES (NEW.stream_id, customer, NEW.data ->> 'country', 0, 0, 0, kind, NEW.occurred_at);
        IF customer IS NOT NULL THEN
            INSERT INTO customers VALUES (customer, 1, 0, 0, 0, 0, 0)
            ON CONFLICT (customer_id) DO UPDATE SET orders = customers.orders + 1;
        END IF;
        IF NEW.event_type <> 'AdjustmentPosted' THEN
            RETURN NULL;
        END IF;
    END IF;
    amount := (NEW.data ->> 'quantity')::bigint;
    value := amount * (NEW.data ->> 'unit_price')::numeric;
    -- The update gives back what a look-up would have to read.
    UPDATE orders SET lines = lines + 1, quantity = quantity + amount, total = total + value
    WHERE order_id = NEW.stream_id
    RETURNING customer_id, status INTO STRICT customer, kind;
    IF customer IS NOT NULL THEN
        UPDATE customers
        SET lines = lines + 1,
            quantity = quantity + amount,
            net = net + value,
            ordered = ordered + CASE kind WHEN 'placed' THEN value ELSE 0 END,
            returned = returned + CASE kind WHEN 'credited' THEN value ELSE 0 END
        WHERE customer_id = customer;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER project AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION project();
