-- What orders knows of tickets: their newest state that has arrived.
CREATE TABLE ticket_copies (
    ticket_id    uuid PRIMARY KEY,
    version      integer NOT NULL,
    seller_id    uuid NOT NULL,
    title        text NOT NULL,
    price_cents  bigint NOT NULL,
    currency     text NOT NULL,
    order_id     uuid,
    withdrawn    boolean NOT NULL,
    sold         boolean NOT NULL
);

CREATE TABLE orders (
    order_id     uuid PRIMARY KEY,
    version      integer NOT NULL,
    ticket_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    status       text NOT NULL CHECK (status IN ('created', 'awaiting:payment', 'complete', 'cancelled', 'refunded')),
    reason       text CHECK (reason IN ('by_buyer', 'expired', 'price_changed', 'withdrawn', 'payment_failed')),
    title        text NOT NULL,
    price_cents  bigint NOT NULL,
    currency     text NOT NULL,
    lock         integer NOT NULL,             -- the fencing token
    expires_at   timestamptz NOT NULL,         -- payments begin until then
    cancel_at    timestamptz NOT NULL,         -- and are waited for until then
    extended     boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL,
    -- Private: the charge that was captured, for the record. A change of it raises no version.
    charge_id    uuid,
    CHECK ((status = 'cancelled') = (reason IS NOT NULL)),
    -- Two orders of one ticket never share a token, or a late event of one could free the other.
    CONSTRAINT every_order_its_own_lock UNIQUE (ticket_id, lock)
);

-- The lock itself: a ticket is sold once because this index says so.
CREATE UNIQUE INDEX one_live_order_per_ticket ON orders (ticket_id) WHERE status NOT IN ('cancelled', 'refunded');
CREATE INDEX orders_of_user ON orders (user_id, created_at DESC, order_id DESC);
CREATE INDEX open_orders_of_user ON orders (user_id) WHERE status IN ('created', 'awaiting:payment');
CREATE INDEX open_orders_by_deadline ON orders (cancel_at) WHERE status IN ('created', 'awaiting:payment');
