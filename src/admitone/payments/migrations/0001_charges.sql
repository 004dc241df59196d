-- What payments knows of orders: their newest state that has arrived.
CREATE TABLE order_copies (
    order_id     uuid PRIMARY KEY,
    version      integer NOT NULL,
    user_id      uuid NOT NULL,
    status       text NOT NULL,
    price_cents  bigint NOT NULL,
    currency     text NOT NULL,
    expires_at   timestamptz NOT NULL
);

CREATE TABLE charges (
    charge_id        uuid PRIMARY KEY,
    order_id         uuid NOT NULL REFERENCES order_copies,
    attempt          integer NOT NULL CHECK (attempt BETWEEN 1 AND 3),
    status           text NOT NULL CHECK (status IN ('created', 'authorized', 'completed', 'failed')),
    amount_cents     bigint NOT NULL,
    currency         text NOT NULL,
    payment_token    text NOT NULL,
    idempotency_key  text NOT NULL UNIQUE,   -- what the processor is called with, however often
    begun_at         timestamptz NOT NULL,
    stripe_id        text,
    failure          text,
    correlation_id   uuid NOT NULL,          -- of the request that began it
    UNIQUE (order_id, attempt),
    CHECK ((status = 'failed') = (failure IS NOT NULL))
);
-- However often one clicks: at most one charge of an order is not failed.
CREATE UNIQUE INDEX one_live_charge_per_order ON charges (order_id) WHERE status <> 'failed';
CREATE INDEX unsettled_charges ON charges (begun_at) WHERE status IN ('created', 'authorized');

-- The other side of TestGateway: what a card processor would know.
CREATE TABLE test_gateway (
    idempotency_key  text PRIMARY KEY,
    id               text NOT NULL UNIQUE,
    amount_cents     bigint NOT NULL,
    currency         text NOT NULL,
    status           text NOT NULL CHECK (status IN ('authorized', 'declined', 'captured', 'voided')),
    decline_code     text
);
