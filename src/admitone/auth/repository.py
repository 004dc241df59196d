"""Every SQL statement of auth."""

from datetime import datetime
from uuid import UUID

from admitone.auth.model import LiveSession, Session, User
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


async def user_by_id(tx: Tx, user_id: UUID) -> User | None:
    return await tx.one(User, "SELECT * FROM users WHERE user_id = $1", user_id)


async def set_password(tx: Tx, user_id: UUID, password_hash: str) -> None:
    await tx.run("UPDATE users SET password_hash = $2 WHERE user_id = $1", user_id, password_hash)


async def insert_session(tx: Tx, session: Session, browser: str, now: datetime, expires_at: datetime) -> None:
    await tx.run(
        "INSERT INTO sessions (session_id, user_id, browser, created_at, used_at, expires_at) VALUES ($1, $2, $3, $4, $4, $5)",
        session.session_id,
        session.user_id,
        browser,
        now,
        expires_at,
    )


async def use_session(tx: Tx, session_id: UUID, now: datetime, idle_since: datetime) -> Session | None:
    """The session with its user as they are today, which is used now; None when it has ended, or nobody has used it since then."""
    return await tx.one(
        Session,
        """
        UPDATE sessions SET used_at = greatest(used_at, $2) FROM users
        WHERE session_id = $1 AND ended_at IS NULL AND expires_at > $2 AND used_at > $3 AND users.user_id = sessions.user_id
        RETURNING session_id, users.user_id, email
        """,
        session_id,
        now,
        idle_since,
    )


async def live_sessions(tx: Tx, user_id: UUID, now: datetime, idle_since: datetime) -> list[LiveSession]:
    """Newest first, at most 100."""
    return await tx.all(
        LiveSession,
        """
        SELECT session_id, browser, created_at, used_at FROM sessions
        WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND used_at > $3
        ORDER BY created_at DESC LIMIT 100
        """,
        user_id,
        now,
        idle_since,
    )


async def end_session(tx: Tx, session_id: UUID, now: datetime) -> None:
    await tx.run("UPDATE sessions SET ended_at = $2 WHERE session_id = $1 AND ended_at IS NULL", session_id, now)


async def end_sessions_of(tx: Tx, user_id: UUID, now: datetime, *, only: UUID | None = None, but: UUID | None = None) -> None:
    """End a user's sessions: all of them, one alone, or all but one."""
    await tx.run(
        """
        UPDATE sessions SET ended_at = $2
        WHERE user_id = $1 AND ended_at IS NULL AND ($3::uuid IS NULL OR session_id = $3) AND ($4::uuid IS NULL OR session_id <> $4)
        """,
        user_id,
        now,
        only,
        but,
    )


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
