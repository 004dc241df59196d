"""The commands of auth."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from admitone.auth import repository
from admitone.auth.model import EmailTaken, LiveSession, Session, SessionOver, TooManyTries, User
from admitone.events import UserCreated
from admitone.kit.data.db import Tx
from admitone.kit.http.session import SESSION_SECONDS

MAX_FAILURES = 10
FAILURE_WINDOW = timedelta(minutes=15)
IDLE = timedelta(days=14)
"""A session that was not used for so long has ended."""


async def sign_up(tx: Tx, email: str, password_hash: str, now: datetime, browser: str = "") -> Session:
    """Create a user and a session for them. Raises EmailTaken."""
    user = await repository.insert_user(tx, User(user_id=uuid4(), version=1, email=email, password_hash=password_hash, created_at=now))
    if user is None:
        raise EmailTaken
    tx.emit(UserCreated(user_id=user.user_id, email=user.email, version=user.version))
    return await open_session(tx, user, now, browser)


async def begin_sign_in(tx: Tx, email: str, now: datetime) -> User | None:
    """Count the try, and find the account if there is one. Raises TooManyTries."""
    if not await repository.count_try(tx, email, now, now - FAILURE_WINDOW, MAX_FAILURES):
        raise TooManyTries
    return await repository.user_by_email(tx, email)


async def sign_in(tx: Tx, user: User, now: datetime, browser: str = "", brought: UUID | None = None) -> Session:
    """Clear the failed tries and open a session, after the password was right. The session that the browser brought along ends."""
    await repository.clear_tries(tx, user.email)
    if brought is not None:
        await repository.end_session(tx, brought, now)
    return await open_session(tx, user, now, browser)


async def open_session(tx: Tx, user: User, now: datetime, browser: str) -> Session:
    session = Session(session_id=uuid4(), user_id=user.user_id, email=user.email)
    await repository.insert_session(tx, session, browser, now, now + timedelta(seconds=SESSION_SECONDS))
    return session


async def refresh(tx: Tx, session_id: UUID, now: datetime) -> Session:
    """The session, with its user as they are today. Raises SessionOver when it has ended, or nobody has used it for 14 days."""
    session = await repository.use_session(tx, session_id, now, now - IDLE)
    if session is None:
        raise SessionOver
    return session


async def begin_password_change(tx: Tx, user_id: UUID, now: datetime) -> User:
    """Count the try as one to sign in: a stolen session must not be a way to guess. Raises TooManyTries, or SessionOver."""
    user = await repository.user_by_id(tx, user_id)
    if user is None:
        raise SessionOver
    if not await repository.count_try(tx, user.email, now, now - FAILURE_WINDOW, MAX_FAILURES):
        raise TooManyTries
    return user


async def change_password(tx: Tx, user: User, session_id: UUID, password_hash: str, now: datetime) -> None:
    """Set it, and end all sessions but this one."""
    await repository.clear_tries(tx, user.email)
    await repository.set_password(tx, user.user_id, password_hash)
    await repository.end_sessions_of(tx, user.user_id, now, but=session_id)


async def live_sessions(tx: Tx, user_id: UUID, now: datetime) -> list[LiveSession]:
    """A user's sessions that have not ended, newest first."""
    return await repository.live_sessions(tx, user_id, now, now - IDLE)


async def sign_out(tx: Tx, session_id: UUID, now: datetime) -> None:
    await repository.end_session(tx, session_id, now)
