-- Private: what orders was told about an order without the order changing by it; what it said itself is in its outbox.
-- What was told before this table was made is not in it.
CREATE TABLE told (
    order_id   uuid NOT NULL REFERENCES orders,
    event      text NOT NULL,
    charge_id  uuid NOT NULL,
    data       jsonb NOT NULL,
    version    integer NOT NULL,         -- that the order had then
    told_at    timestamptz NOT NULL,
    PRIMARY KEY (order_id, event, charge_id)
);
