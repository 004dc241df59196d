"""Signing up, in and out over HTTP. The token travels in a cookie and nowhere else."""

from litestar import Response, get, post

from admitone.auth import commands
from admitone.auth.model import (
    CurrentUser,
    EmailTaken,
    Session,
    SessionOver,
    SignInForm,
    SignUpForm,
    TooManyTries,
    UserView,
    WrongCredentials,
)
from admitone.auth.passwords import hash_password, is_right
from admitone.auth.tokens import Signer
from admitone.config import Settings
from admitone.kit.data.db import Database
from admitone.kit.http.app import read
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import SESSION_COOKIE, Empty, documented
from admitone.kit.http.session import User, Verifier, cookie_name, set_cookie


@documented(body=SignUpForm, answers={201: UserView}, gives_headers=SESSION_COOKIE, refuses=(EmailTaken,))
@post("/signup")
async def sign_up(request: AnyRequest, db: Database, signer: Signer, settings: Settings) -> Response[UserView]:
    """Sign up. The new user is signed in at once."""
    form = await read(request, SignUpForm)
    password_hash = await hash_password(form.password)
    async with db.transaction() as tx:
        session = await commands.sign_up(tx, form.email, password_hash, tx.now)
    return _signed_in(session, signer, settings, status_code=201)


@documented(body=SignInForm, answers={200: UserView}, gives_headers=SESSION_COOKIE, refuses=(WrongCredentials, TooManyTries))
@post("/signin", status_code=200)
async def sign_in(request: AnyRequest, db: Database, signer: Signer, settings: Settings) -> Response[UserView]:
    """Sign in.

    An unknown account and a wrong password look the same, and take as long.
    """
    form = await read(request, SignInForm)
    async with db.transaction() as tx:
        user = await commands.begin_sign_in(tx, form.email, tx.now)
    if not await is_right(form.password, user.password_hash if user else None) or user is None:
        raise WrongCredentials
    async with db.transaction() as tx:
        session = await commands.sign_in(tx, user, tx.now)
    return _signed_in(session, signer, settings, status_code=200)


@documented(answers={200: Empty}, gives_headers=SESSION_COOKIE, refuses=(SessionOver,))
@post("/refresh", status_code=200)
async def refresh(request: AnyRequest, db: Database, signer: Signer, settings: Settings, verifier: Verifier) -> Response[Empty]:
    """Renew the session's token.

    Takes a token that has ended, too: what counts is the session behind it.
    """
    known = verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))
    if known is None:
        raise SessionOver
    async with db.transaction() as tx:
        session = await commands.refresh(tx, known.session_id, tx.now)
    token = signer.token(session.user_id, session.email, session.session_id)
    return Response(Empty(), headers={"Set-Cookie": set_cookie(token, settings.secure)})


@documented(answers={200: Empty}, gives_headers=SESSION_COOKIE)
@post("/signout", status_code=200)
async def sign_out(request: AnyRequest, db: Database, settings: Settings, verifier: Verifier) -> Response[Empty]:
    """Sign out: the session ends, and the cookie with it."""
    known = verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))
    if known is not None:
        async with db.transaction() as tx:
            await commands.sign_out(tx, known.session_id, tx.now)
    return Response(Empty(), headers={"Set-Cookie": set_cookie("", settings.secure)})


@documented(answers={200: CurrentUser})
@get("/currentuser")
async def current_user(visitor: User | None) -> CurrentUser:
    """Who is signed in, if anybody is."""
    return CurrentUser(UserView(visitor.id, visitor.email) if visitor else None)


def _signed_in(session: Session, signer: Signer, settings: Settings, status_code: int) -> Response[UserView]:
    token = signer.token(session.user_id, session.email, session.session_id)
    return Response(
        UserView(session.user_id, session.email),
        status_code=status_code,
        headers={"Set-Cookie": set_cookie(token, settings.secure), "Cache-Control": "no-store"},
    )


ROUTES = (sign_up, sign_in, refresh, sign_out, current_user)
