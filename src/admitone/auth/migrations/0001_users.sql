CREATE TABLE users (
    user_id        uuid PRIMARY KEY,
    version        integer NOT NULL,
    email          text NOT NULL,
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL
);
-- One account per address, however it is spelled.
CREATE UNIQUE INDEX one_account_per_email ON users (lower(email));

CREATE TABLE sessions (
    session_id  uuid PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz
);

-- Each try to sign in counts as failed until the password has proved right.
CREATE TABLE failed_signins (
    account    text NOT NULL,
    failed_at  timestamptz NOT NULL
);
CREATE INDEX failed_signins_by_account ON failed_signins (account, failed_at);
