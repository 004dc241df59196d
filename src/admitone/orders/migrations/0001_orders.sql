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
    order_id          uuid PRIMARY KEY,
    version           integer NOT NULL,
    ticket_id         uuid NOT NULL,
    user_id           uuid NOT NULL,             -- the buyer
    seller_id         uuid,
    status            text NOT NULL CHECK (status IN ('created', 'awaiting:payment', 'complete', 'cancelled', 'refunded')),
    reason            text CHECK (reason IN ('by_buyer', 'expired', 'price_changed', 'withdrawn', 'payment_failed')),
    title             text NOT NULL,
    price_cents       bigint NOT NULL,
    currency          text NOT NULL,
    fee_basis_points  integer NOT NULL DEFAULT 0,
    lock              integer NOT NULL,          -- the fencing token
    expires_at        timestamptz NOT NULL,      -- payments begin until then
    cancel_at         timestamptz NOT NULL,      -- and are waited for until then: the grace period
    extended          boolean NOT NULL DEFAULT false,
    relist            boolean NOT NULL DEFAULT false,  -- refunded, and the ticket goes on sale again
    created_at        timestamptz NOT NULL,
    -- Private: a change of these alone raises no version.
    charge_id         uuid,                      -- the charge that was captured, for the record
    uncollected       boolean NOT NULL DEFAULT false,  -- the approved money could not be taken
    holds_ticket      boolean GENERATED ALWAYS AS (status <> 'cancelled' AND NOT (status = 'refunded' AND relist)) STORED,
    CHECK ((status = 'cancelled') = (reason IS NOT NULL)),
    -- Two orders of one ticket never share a fencing token, or a late event of one could free the other.
    CONSTRAINT one_fencing_token_per_order UNIQUE (ticket_id, lock)
);

-- The lock itself: a ticket is sold once because this index says so. An order holds its ticket until it is cancelled. A refunded order
-- goes on holding it, unless the ticket goes on sale again.
CREATE UNIQUE INDEX one_holding_order_per_ticket ON orders (ticket_id) WHERE holds_ticket;
CREATE INDEX orders_of_user ON orders (user_id, created_at DESC, order_id DESC);
CREATE INDEX open_orders_of_user ON orders (user_id) WHERE status IN ('created', 'awaiting:payment');
CREATE INDEX open_orders_by_deadline ON orders (cancel_at) WHERE status IN ('created', 'awaiting:payment');

-- Private: what payments has reported about an order without the order changing by it. What orders itself published is in its outbox.
CREATE TABLE payment_events (
    order_id     uuid NOT NULL REFERENCES orders,
    event        text NOT NULL,
    charge_id    uuid NOT NULL,
    data         jsonb NOT NULL,
    version      integer NOT NULL,         -- that the order had then
    received_at  timestamptz NOT NULL,
    PRIMARY KEY (order_id, event, charge_id)
);

-- How many attempts to buy were refused, by reason. Written every few seconds, not for each attempt; attempts that succeeded are the rows
-- of orders.
CREATE TABLE refusals (
    reason  text PRIMARY KEY,
    times   bigint NOT NULL
);

-- What `admitone verify --publish` has found, for everybody to read; the newest one is shown.
CREATE TABLE proofs (
    proof_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checked_at  timestamptz NOT NULL,
    proof       json NOT NULL
);
