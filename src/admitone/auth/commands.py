"""The commands of auth."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from admitone.auth import repository
from admitone.auth.model import EmailTaken, Session, SessionOver, TooManyTries, User
from admitone.events import UserCreated
from admitone.kit.data.db import Tx
from admitone.kit.http.session import SESSION_SECONDS

MAX_FAILURES = 10
FAILURE_WINDOW = timedelta(minutes=15)


async def sign_up(tx: Tx, email: str, password_hash: str, now: datetime) -> Session:
    """Create a user and a session for them. Raises EmailTaken."""
    user = await repository.insert_user(tx, User(user_id=uuid4(), version=1, email=email, password_hash=password_hash, created_at=now))
    if user is None:
        raise EmailTaken
    tx.emit(UserCreated(user_id=user.user_id, email=user.email, version=user.version))
    return await open_session(tx, user, now)


async def begin_sign_in(tx: Tx, email: str, now: datetime) -> User | None:
    """Count the try, and find the account if there is one. Raises TooManyTries."""
    if not await repository.count_try(tx, email, now, now - FAILURE_WINDOW, MAX_FAILURES):
        raise TooManyTries
    return await repository.user_by_email(tx, email)


async def sign_in(tx: Tx, user: User, now: datetime) -> Session:
    """Clear the failed tries and open a session, after the password was right."""
    await repository.clear_tries(tx, user.email)
    return await open_session(tx, user, now)


async def open_session(tx: Tx, user: User, now: datetime) -> Session:
    session = Session(session_id=uuid4(), user_id=user.user_id, email=user.email)
    await repository.insert_session(tx, session.session_id, user.user_id, now, now + timedelta(seconds=SESSION_SECONDS))
    return session


async def refresh(tx: Tx, session_id: UUID, now: datetime) -> Session:
    """The session, with its user as they are today. Raises SessionOver when it has ended."""
    session = await repository.live_session(tx, session_id, now)
    if session is None:
        raise SessionOver
    return session


async def sign_out(tx: Tx, session_id: UUID, now: datetime) -> None:
    await repository.end_session(tx, session_id, now)
