-- What a card processor knows of payments. Nobody but TestProcessor reads or writes here, and a checker that compares.
CREATE TABLE intents (
    id               text PRIMARY KEY,
    idempotency_key  text NOT NULL UNIQUE,
    order_id         uuid NOT NULL,
    charge_id        uuid NOT NULL,
    token            text NOT NULL,
    amount_cents     bigint NOT NULL,
    currency         text NOT NULL,
    status           text NOT NULL
        CHECK (status IN ('needs_confirmation', 'authorized', 'declined', 'captured', 'voided', 'refunded')),
    code             text,
    captured_cents   bigint NOT NULL DEFAULT 0,
    refunded_cents   bigint NOT NULL DEFAULT 0,
    refund_id        text UNIQUE,
    made_at          timestamptz NOT NULL,
    CHECK (captured_cents <= amount_cents AND refunded_cents <= captured_cents),
    CHECK ((status IN ('captured', 'refunded')) = (captured_cents > 0)),
    CHECK ((status = 'refunded') = (refunded_cents > 0))
);

CREATE TABLE webhooks (
    webhook_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type        text NOT NULL,
    intent_id   text NOT NULL REFERENCES intents,
    charge_id   uuid NOT NULL,
    made_at     timestamptz NOT NULL,
    send_at     timestamptz,               -- null once it was taken, or given up
    tries       integer NOT NULL DEFAULT 0
);
CREATE INDEX webhooks_to_send ON webhooks (send_at) WHERE send_at IS NOT NULL;

-- How it is told to misbehave: the next so many calls of this name, or a share of all of them while the row is there.
CREATE TABLE faults (
    fault_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call      text NOT NULL CHECK (call IN ('authorize', 'look', 'capture', 'void', 'refund', 'webhook')),
    fault     text NOT NULL CHECK (fault IN (
        'timeout_before', 'timeout_after', 'error', 'slow', 'hang', 'refuse', 'crash_before', 'crash_after', 'lose', 'repeat')),
    times     integer CHECK (times >= 0),  -- null: for as long as the row is there
    share     double precision NOT NULL DEFAULT 1 CHECK (share > 0 AND share <= 1)
);

-- What its webhooks are signed with.
CREATE TABLE secret (
    secret text NOT NULL DEFAULT 'whsec_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
);
INSERT INTO secret DEFAULT VALUES;
