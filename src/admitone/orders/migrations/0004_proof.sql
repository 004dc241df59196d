-- How often an attempt to buy was told no, by reason. Added to every few seconds, never for each attempt; attempts that were told
-- yes are the rows of orders.
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
