CREATE TABLE timers (
    order_id        uuid PRIMARY KEY,
    version         integer NOT NULL,   -- of the order it was set by: the newer one wins
    due             timestamptz,        -- NULL: forgotten. The row stays, so that a late event can't set it again
    rung_at         timestamptz,
    correlation_id  uuid NOT NULL       -- of the request that the order goes back to
);
CREATE INDEX timers_waiting ON timers (due) WHERE due IS NOT NULL AND rung_at IS NULL;
