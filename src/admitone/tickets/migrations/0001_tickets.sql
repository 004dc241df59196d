CREATE TABLE tickets (
    ticket_id     uuid PRIMARY KEY,
    version       integer NOT NULL,
    seller_id     uuid NOT NULL,
    title         text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    price_cents   bigint NOT NULL CHECK (price_cents BETWEEN 50 AND 99999999),
    currency      text NOT NULL,
    order_id      uuid,                         -- the order that holds it
    withdrawn     boolean NOT NULL DEFAULT false,
    sold          boolean NOT NULL DEFAULT false,
    -- Private, but for locked_until: a change of these alone raises no version.
    lock          integer NOT NULL DEFAULT 0,   -- the highest fencing token that was received
    -- The highest token of an order that was refunded with the ticket going on sale again: its completion, should it arrive later than
    -- that, sells nothing any more.
    relisted      integer NOT NULL DEFAULT 0,
    locked_until  timestamptz,
    created_at    timestamptz NOT NULL
);
CREATE INDEX tickets_newest ON tickets (created_at DESC, ticket_id DESC) WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;
CREATE INDEX tickets_cheapest ON tickets (price_cents, ticket_id) WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;
CREATE INDEX tickets_by_seller ON tickets (seller_id, created_at DESC, ticket_id DESC);
-- All n-grams of a text: its substrings of 3 characters, 2, and so on down to the shortest that is wanted.
CREATE FUNCTION ngrams(whole text, shortest integer) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
    SELECT array_agg(substr(whole, start, size))
    FROM generate_series(shortest, 3) AS size, generate_series(1, char_length(whole) - size + 1) AS start
$$;
-- For searching, in any script, down to a single letter. A pending list would be scanned by each search, so there is none.
CREATE INDEX tickets_by_ngram ON tickets USING gin (ngrams(lower(title), 1)) WITH (fastupdate = off)
    WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;

-- What a seller leaves for the buyer: a link, a code, where to meet. In a table of its own, so that nothing that shows, says or logs a
-- ticket can have it among its fields; an empty one is none.
CREATE TABLE notes (
    ticket_id  uuid PRIMARY KEY REFERENCES tickets,
    note       text NOT NULL CHECK (char_length(note) <= 2000)
);

-- Who has paid for which order, and whether the money was given back: true whichever event arrives first. Private, as the note is.
CREATE TABLE purchases (
    order_id  uuid PRIMARY KEY,
    user_id   uuid NOT NULL,
    refunded  boolean NOT NULL
);
