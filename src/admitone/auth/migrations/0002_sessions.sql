-- For the page that lists one's sessions, and for those that nobody uses any more.
ALTER TABLE sessions
    ADD COLUMN browser  text NOT NULL DEFAULT '',
    ADD COLUMN used_at  timestamptz NOT NULL DEFAULT now();
CREATE INDEX live_sessions_by_user ON sessions (user_id, created_at) WHERE ended_at IS NULL;
