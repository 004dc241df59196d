CREATE TABLE tickets (
    ticket_id     uuid PRIMARY KEY,
    version       integer NOT NULL,
    seller_id     uuid NOT NULL,
    title         text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    price_cents   bigint NOT NULL CHECK (price_cents BETWEEN 50 AND 99999999),
    currency      text NOT NULL,
    order_id      uuid,                         -- the purchase attempt that holds it
    withdrawn     boolean NOT NULL DEFAULT false,
    sold          boolean NOT NULL DEFAULT false,
    -- Private from here on: a change of these alone raises no version.
    lock          integer NOT NULL DEFAULT 0,   -- the highest fencing token heard of
    locked_until  timestamptz,
    created_at    timestamptz NOT NULL
);
CREATE INDEX tickets_newest ON tickets (created_at DESC, ticket_id DESC) WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;
CREATE INDEX tickets_cheapest ON tickets (price_cents, ticket_id) WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;
CREATE INDEX tickets_by_seller ON tickets (seller_id, created_at DESC, ticket_id DESC);
