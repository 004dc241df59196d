ALTER TABLE order_copies
    ADD seller_id         uuid,
    ADD fee_basis_points  integer NOT NULL DEFAULT 0;

ALTER TABLE charges
    ADD fee_cents         bigint NOT NULL DEFAULT 0,
    ADD seller_id         uuid,
    ADD changed_at        timestamptz,
    ADD next_look_at      timestamptz,
    ADD looks             integer NOT NULL DEFAULT 0,
    ADD trouble           text,
    ADD redirect_url      text,
    ADD refund_asked_at   timestamptz,
    ADD refund_reason     text,
    ADD relist            boolean NOT NULL DEFAULT false,
    ADD stripe_refund_id  text,
    ADD settled_reason    text;
UPDATE charges SET changed_at = begun_at, next_look_at = begun_at;
ALTER TABLE charges
    ALTER changed_at SET NOT NULL,
    ALTER next_look_at SET NOT NULL,
    DROP CONSTRAINT charges_status_check,
    ADD CHECK (status IN ('created', 'authorized', 'completed', 'failed', 'uncollected', 'refunded')),
    ADD CHECK (fee_cents BETWEEN 0 AND amount_cents),
    ADD CHECK ((refund_asked_at IS NULL) = (refund_reason IS NULL));
CREATE UNIQUE INDEX charges_by_stripe_id ON charges (stripe_id);
DROP INDEX unsettled_charges;
-- What the job looks through: everything that is not at its end.
CREATE INDEX unsettled_charges ON charges (next_look_at)
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

INSERT INTO ledger (posting, account, charge_id, amount_cents, currency, booked_at)
    SELECT 'capture:' || charge_id, account, charge_id, sign * amount_cents, currency, begun_at
    FROM charges, (VALUES ('processor', 1), ('seller', -1)) AS entry (account, sign) WHERE status = 'completed';

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

-- The test processor keeps its books in a database of its own by now.
DROP TABLE test_gateway;
