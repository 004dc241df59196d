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
