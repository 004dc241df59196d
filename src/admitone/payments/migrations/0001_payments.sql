-- What payments knows of orders: their newest state that has arrived.
CREATE TABLE order_copies (
    order_id          uuid PRIMARY KEY,
    version           integer NOT NULL,
    user_id           uuid NOT NULL,
    seller_id         uuid,
    status            text NOT NULL,
    price_cents       bigint NOT NULL,
    currency          text NOT NULL,
    fee_basis_points  integer NOT NULL DEFAULT 0,
    expires_at        timestamptz NOT NULL
);

CREATE TABLE charges (
    charge_id         uuid PRIMARY KEY,
    order_id          uuid NOT NULL REFERENCES order_copies,
    attempt           integer NOT NULL CHECK (attempt BETWEEN 1 AND 3),
    status            text NOT NULL
        CHECK (status IN ('created', 'authorized', 'completed', 'failed', 'uncollected', 'refunded')),  -- completed: captured
    amount_cents      bigint NOT NULL,
    fee_cents         bigint NOT NULL DEFAULT 0,
    currency          text NOT NULL,
    seller_id         uuid,
    payment_token     text NOT NULL,
    idempotency_key   text NOT NULL UNIQUE,   -- what the processor is called with, however often
    begun_at          timestamptz NOT NULL,
    changed_at        timestamptz NOT NULL,
    stripe_id         text,
    failure           text,
    redirect_url      text,                   -- where the buyer confirms it at the bank
    correlation_id    uuid NOT NULL,          -- of the request that began it
    -- Reconciling with the processor.
    next_attempt_at   timestamptz NOT NULL,
    failed_attempts   integer NOT NULL DEFAULT 0,
    last_error        text,
    -- A refund, or a person's decision about an uncollected charge.
    refund_asked_at   timestamptz,
    refund_reason     text,
    relist            boolean NOT NULL DEFAULT false,
    stripe_refund_id  text,
    settled_reason    text,
    UNIQUE (order_id, attempt),
    CHECK ((status = 'failed') = (failure IS NOT NULL)),
    CHECK (fee_cents BETWEEN 0 AND amount_cents),
    CHECK ((refund_asked_at IS NULL) = (refund_reason IS NULL))
);
-- However often one clicks: at most one charge of an order is not failed.
CREATE UNIQUE INDEX one_live_charge_per_order ON charges (order_id) WHERE status <> 'failed';
CREATE UNIQUE INDEX charges_by_stripe_id ON charges (stripe_id);
-- What the reconciling job looks through: everything that is not in a final state.
CREATE INDEX unsettled_charges ON charges (next_attempt_at)
    WHERE status IN ('created', 'authorized') OR (status IN ('completed', 'uncollected') AND refund_asked_at IS NOT NULL);

-- Double entry: what the processor holds for us (debit, positive), and to whom it belongs (credit, negative).
CREATE TABLE ledger (
    entry_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posting       text NOT NULL,             -- the entries of one posting sum to zero
    account       text NOT NULL CHECK (account IN ('processor', 'seller', 'fees')),
    seller_id     uuid,                      -- whose, where the account is a seller's
    charge_id     uuid NOT NULL REFERENCES charges,
    amount_cents  bigint NOT NULL CHECK (amount_cents <> 0),
    currency      text NOT NULL,
    booked_at     timestamptz NOT NULL,
    UNIQUE (posting, account)                -- however often a posting is tried, it is booked once
);
CREATE INDEX ledger_by_charge ON ledger (charge_id);

CREATE FUNCTION refuse_unbalanced_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger WHERE posting = NEW.posting GROUP BY currency HAVING sum(amount_cents) <> 0) THEN
        RAISE EXCEPTION 'the entries of % do not sum to zero', NEW.posting;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER postings_balance AFTER INSERT ON ledger
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced_posting();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is only ever added to: book the reverse instead';
END $$;
CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_change();
