CREATE TABLE shop_orders (
    order_id    text        COLLATE "C" PRIMARY KEY,
    customer_id text        COLLATE "C" NOT NULL,
    status      text        NOT NULL,
    lines       bigint      NOT NULL,
    quantity    bigint      NOT NULL,
    total       numeric     NOT NULL,
    placed_at   timestamptz NOT NULL
);
CREATE TABLE shop_customers (
    customer_id text    COLLATE "C" PRIMARY KEY,
    orders      bigint  NOT NULL,
    lines       bigint  NOT NULL,
    quantity    bigint  NOT NULL,
    net         numeric NOT NULL,
    cancelled   bigint  NOT NULL
);
