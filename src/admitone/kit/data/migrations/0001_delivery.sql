-- What this service said. Rows are kept after publishing: they are its own log, and the stream is repaired from them.
CREATE TABLE outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id        uuid NOT NULL UNIQUE,
    event           text NOT NULL,
    data            jsonb NOT NULL,
    correlation_id  uuid NOT NULL,
    causation_id    uuid,
    created_at      timestamptz NOT NULL,
    published_at    timestamptz,
    seq             bigint,
    CHECK ((published_at IS NULL) = (seq IS NULL))
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_by_seq ON outbox (seq) WHERE seq IS NOT NULL;
CREATE INDEX outbox_by_order ON outbox ((data ->> 'order_id')) WHERE data ->> 'order_id' IS NOT NULL;
CREATE INDEX outbox_by_ticket ON outbox ((data ->> 'ticket_id')) WHERE data ->> 'ticket_id' IS NOT NULL;
CREATE INDEX outbox_by_cause ON outbox (causation_id) WHERE causation_id IS NOT NULL;

-- What this service has handled. It saves work; no handler needs it for being right, so it may be pruned.
CREATE TABLE inbox (
    event_id    uuid PRIMARY KEY,
    event       text NOT NULL,
    handled_at  timestamptz NOT NULL
);

-- Dead letters: what this service could not handle, to be looked at, mended and replayed.
CREATE TABLE parked (
    event_id   uuid PRIMARY KEY,
    event      text NOT NULL,
    message    bytea NOT NULL,
    error      text NOT NULL,
    tries      integer NOT NULL,
    parked_at  timestamptz NOT NULL
);

-- Dead letters that a person has decided not to handle, with the reason. They stay: somebody may ask one day.
CREATE TABLE dropped (
    event_id    uuid PRIMARY KEY,
    event       text NOT NULL,
    message     bytea NOT NULL,
    error       text NOT NULL,
    tries       integer NOT NULL,
    parked_at   timestamptz NOT NULL,
    reason      text NOT NULL,
    dropped_at  timestamptz NOT NULL
);

-- Answers that the same Idempotency-Key gets again, for a day.
CREATE TABLE idempotency (
    user_id     uuid NOT NULL,
    route       text NOT NULL,
    key         text NOT NULL,
    body_hash   bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    status      integer,
    body        json,      -- not jsonb: the answer keeps its order
    PRIMARY KEY (user_id, route, key)
);
