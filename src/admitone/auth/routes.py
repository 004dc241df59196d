"""Signing up, in and out over HTTP. The token travels in a cookie and nowhere else."""

import base64
from uuid import UUID

from litestar import Response, delete, get, post

from admitone.auth import commands, repository
from admitone.auth.model import (
    CurrentUser,
    EmailTaken,
    PasswordForm,
    PublicKey,
    PublicKeys,
    Session,
    SessionOver,
    SessionView,
    SignInForm,
    SignUpForm,
    TooManyTries,
    UserView,
    WeakPassword,
    WrongCredentials,
    WrongPassword,
)
from admitone.auth.passwords import hash_password, is_outdated, is_right, is_weak
from admitone.auth.tokens import Signer
from admitone.config import Settings
from admitone.kit.data.db import Database
from admitone.kit.http.app import read
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import SESSION_COOKIE, Empty, documented
from admitone.kit.http.session import User, Verifier, cookie_name, key_id, set_cookie
from admitone.kit.observe.log import printable


@documented(body=SignUpForm, answers={201: UserView}, gives_headers=SESSION_COOKIE, refuses=(EmailTaken, WeakPassword))
@post("/signup")
async def sign_up(request: AnyRequest, db: Database, signer: Signer, settings: Settings) -> Response[UserView]:
    """Sign up. The new user is signed in at once."""
    form = await read(request, SignUpForm)
    if is_weak(form.password, form.email):
        raise WeakPassword
    password_hash = await hash_password(form.password)
    async with db.transaction() as tx:
        session = await commands.sign_up(tx, form.email, password_hash, tx.now, _browser(request))
    return _signed_in(session, signer, settings, status_code=201)


@documented(body=SignInForm, answers={200: UserView}, gives_headers=SESSION_COOKIE, refuses=(WrongCredentials, TooManyTries))
@post("/signin", status_code=200)
async def sign_in(request: AnyRequest, db: Database, signer: Signer, settings: Settings, verifier: Verifier) -> Response[UserView]:
    """Sign in.

    An unknown account and a wrong password look the same, and take as long. A session that the browser had already ends.
    """
    form = await read(request, SignInForm)
    async with db.transaction() as tx:
        user = await commands.begin_sign_in(tx, form.email, tx.now)
    if not await is_right(form.password, user.password_hash if user else None) or user is None:
        raise WrongCredentials
    new_hash = await hash_password(form.password) if is_outdated(user.password_hash) else None
    brought = _known(request, settings, verifier)
    async with db.transaction() as tx:
        session = await commands.sign_in(tx, user, tx.now, _browser(request), brought.session_id if brought else None)
        if new_hash is not None:
            await repository.set_password(tx, user.user_id, new_hash)
    return _signed_in(session, signer, settings, status_code=200)


@documented(answers={200: Empty}, gives_headers=SESSION_COOKIE, refuses=(SessionOver,))
@post("/refresh", status_code=200)
async def refresh(request: AnyRequest, db: Database, signer: Signer, settings: Settings, verifier: Verifier) -> Response[Empty]:
    """Renew the session's token.

    Takes a token that has ended, too: what counts is the session behind it.
    """
    known = _known(request, settings, verifier)
    if known is None:
        raise SessionOver
    async with db.transaction() as tx:
        session = await commands.refresh(tx, known.session_id, tx.now)
    return Response(Empty(), headers=_cookie(session, signer, settings))


@documented(answers={200: Empty}, gives_headers=SESSION_COOKIE)
@post("/signout", status_code=200)
async def sign_out(request: AnyRequest, db: Database, settings: Settings, verifier: Verifier) -> Response[Empty]:
    """Sign out: the session ends, and the cookie with it."""
    known = _known(request, settings, verifier)
    if known is not None:
        async with db.transaction() as tx:
            await commands.sign_out(tx, known.session_id, tx.now)
    return Response(Empty(), headers={"Set-Cookie": set_cookie("", settings.secure)})


@documented(answers={200: CurrentUser}, gives_headers=SESSION_COOKIE)
@get("/currentuser")
async def current_user(
    request: AnyRequest, db: Database, signer: Signer, settings: Settings, verifier: Verifier, visitor: User | None
) -> Response[CurrentUser]:
    """Who is signed in, if anybody is.

    When the token has ended and its session lives, the cookie is made anew: a client that asks here needs no `refresh`.
    """
    if visitor is not None:
        return Response(CurrentUser(UserView(visitor.id, visitor.email)))
    known = _known(request, settings, verifier)
    if known is None:
        return Response(CurrentUser(None))
    try:
        async with db.transaction() as tx:
            session = await commands.refresh(tx, known.session_id, tx.now)
    except SessionOver:
        return Response(CurrentUser(None))
    return Response(CurrentUser(UserView(session.user_id, session.email)), headers=_cookie(session, signer, settings))


@documented(body=PasswordForm, answers={200: Empty}, refuses=(WrongPassword, WeakPassword, TooManyTries, SessionOver))
@post("/password", status_code=200)
async def change_password(request: AnyRequest, db: Database, user: User) -> Empty:
    """Change one's password.

    It takes the current one, and ends all other sessions.
    """
    form = await read(request, PasswordForm)
    async with db.transaction() as tx:
        account = await commands.begin_password_change(tx, user.id, tx.now)
    if not await is_right(form.current_password, account.password_hash):
        raise WrongPassword
    if is_weak(form.password, account.email):
        raise WeakPassword
    password_hash = await hash_password(form.password)
    async with db.transaction() as tx:
        await commands.change_password(tx, account, user.session_id, password_hash, tx.now)
    return Empty()


@documented(answers={200: list[SessionView]})
@get("/sessions")
async def my_sessions(db: Database, user: User) -> list[SessionView]:
    """Where one is signed in, newest first."""
    async with db.reading() as tx:
        found = await commands.live_sessions(tx, user.id, tx.now)
    return [SessionView(one.session_id, one.browser, one.created_at, one.used_at, one.session_id == user.session_id) for one in found]


@documented(answers={204: None})
@delete("/sessions/{session_id:uuid}")
async def end_session(session_id: UUID, db: Database, user: User) -> None:
    """Sign out somewhere else. A second time changes nothing; another's session is left alone."""
    async with db.transaction() as tx:
        await repository.end_sessions_of(tx, user.id, tx.now, only=session_id)


@documented(answers={204: None}, gives_headers=SESSION_COOKIE)
@delete("/sessions")
async def end_all_sessions(db: Database, user: User, settings: Settings) -> Response[None]:
    """Sign out everywhere, here as well."""
    async with db.transaction() as tx:
        await repository.end_sessions_of(tx, user.id, tx.now)
    return Response(None, status_code=204, headers={"Set-Cookie": set_cookie("", settings.secure)})


@documented(answers={200: PublicKeys})
@get("/jwks.json")
async def public_keys(settings: Settings) -> PublicKeys:
    """The keys that sessions are checked with, as RFC 7517 has it."""
    return PublicKeys([PublicKey(kid=key_id(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))), x=key) for key in settings.public_keys])


def _known(request: AnyRequest, settings: Settings, verifier: Verifier) -> User | None:
    """Whose session the request brings, also when its token has ended."""
    return verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))


def _browser(request: AnyRequest) -> str:
    """What it calls itself; not more of it than anybody would read."""
    return printable(request.headers.get("user-agent", ""))[:200]


def _cookie(session: Session, signer: Signer, settings: Settings) -> dict[str, str]:
    return {"Set-Cookie": set_cookie(signer.token(session.user_id, session.email, session.session_id), settings.secure)}


def _signed_in(session: Session, signer: Signer, settings: Settings, status_code: int) -> Response[UserView]:
    headers = _cookie(session, signer, settings) | {"Cache-Control": "no-store"}
    return Response(UserView(session.user_id, session.email), status_code=status_code, headers=headers)


ROUTES = (
    *(sign_up, sign_in, refresh, sign_out, current_user),
    *(change_password, my_sessions, end_session, end_all_sessions, public_keys),
)
