CREATE TABLE orders (
    order_id    text        COLLATE "C" PRIMARY KEY,
    customer_id text        COLLATE "C",
    country     text        NOT NULL,
    lines       bigint      NOT NULL,
    quantity    bigint      NOT NULL,
    total       numeric     NOT NULL,
    status      text        NOT NULL,
    placed_at   timestamptz NOT NULL
);
CREATE TABLE customers (
    customer_id text    COLLATE "C" PRIMARY KEY,
    orders      bigint  NOT NULL,
    lines       bigint  NOT NULL,
    quantity    bigint  NOT NULL,
    net         numeric NOT NULL,
    ordered     numeric NOT NULL,
    returned    numeric NOT NULL
);
