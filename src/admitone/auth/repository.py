"""Every SQL statement of auth."""

from datetime import datetime
from uuid import UUID

from admitone.auth.model import Session, User
from admitone.kit.data.db import Tx


async def insert_user(tx: Tx, user: User) -> User | None:
    """The new user, or None when the address is taken."""
    return await tx.one(
        User,
        """
        INSERT INTO users (user_id, version, email, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (lower(email)) DO NOTHING RETURNING *
        """,
        user.user_id,
        user.version,
        user.email,
        user.password_hash,
        user.created_at,
    )


async def user_by_email(tx: Tx, email: str) -> User | None:
    return await tx.one(User, "SELECT * FROM users WHERE lower(email) = lower($1)", email)


async def insert_session(tx: Tx, session_id: UUID, user_id: UUID, now: datetime, expires_at: datetime) -> None:
    await tx.run(
        "INSERT INTO sessions (session_id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        session_id,
        user_id,
        now,
        expires_at,
    )


async def live_session(tx: Tx, session_id: UUID, now: datetime) -> Session | None:
    """The session with its user as they are today, or None when it has ended."""
    return await tx.one(
        Session,
        """
        SELECT session_id, user_id, email FROM sessions JOIN users USING (user_id)
        WHERE session_id = $1 AND ended_at IS NULL AND expires_at > $2
        """,
        session_id,
        now,
    )


async def end_session(tx: Tx, session_id: UUID, now: datetime) -> None:
    await tx.run("UPDATE sessions SET ended_at = $2 WHERE session_id = $1 AND ended_at IS NULL", session_id, now)


async def count_try(tx: Tx, account: str, now: datetime, since: datetime, max_tries: int) -> bool:
    """Count a try before the password is checked, so that parallel tries can't exceed the limit. False when there were too many."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended(lower($1), 0))", account)
    return bool(
        await tx.run(
            """
            INSERT INTO failed_signins (account, failed_at)
            SELECT lower($1), $2
            WHERE (SELECT count(*) FROM failed_signins WHERE account = lower($1) AND failed_at > $3) < $4
            """,
            account,
            now,
            since,
            max_tries,
        )
    )


async def clear_tries(tx: Tx, account: str) -> None:
    await tx.run("DELETE FROM failed_signins WHERE account = lower($1)", account)
