"""Signing up, in and out over HTTP. The token travels in a cookie and nowhere else."""

from typing import Any

from litestar import Response, get, post

from admitone.auth import commands
from admitone.auth.model import CurrentUser, Session, SessionOver, SignInForm, SignUpForm, UserView, WrongCredentials
from admitone.auth.passwords import hash_password, is_right
from admitone.auth.tokens import Signer
from admitone.kit.config import Settings
from admitone.kit.db import Database
from admitone.kit.session import User, Verifier, cookie_name, set_cookie
from admitone.kit.web import AnyRequest, read


@post("/signup")
async def sign_up(request: AnyRequest, db: Database, signer: Signer, settings: Settings) -> Response[UserView]:
    form = await read(request, SignUpForm)
    password_hash = await hash_password(form.password)
    async with db.transaction() as tx:
        session = await commands.sign_up(tx, form.email, password_hash, tx.now)
    return _signed_in(session, signer, settings, status_code=201)


@post("/signin", status_code=200)
async def sign_in(request: AnyRequest, db: Database, signer: Signer, settings: Settings) -> Response[UserView]:
    form = await read(request, SignInForm)
    async with db.transaction() as tx:
        user = await commands.begin_sign_in(tx, form.email, tx.now)
    if not await is_right(form.password, user.password_hash if user else None) or user is None:
        raise WrongCredentials
    async with db.transaction() as tx:
        session = await commands.sign_in(tx, user, tx.now)
    return _signed_in(session, signer, settings, status_code=200)


@post("/refresh", status_code=200)
async def refresh(request: AnyRequest, db: Database, signer: Signer, settings: Settings, verifier: Verifier) -> Response[dict[str, Any]]:
    """Takes a token that has ended, too: what counts is the session behind it."""
    known = verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))
    if known is None:
        raise SessionOver
    async with db.transaction() as tx:
        session = await commands.refresh(tx, known.session_id, tx.now)
    token = signer.token(session.user_id, session.email, session.session_id)
    return Response({}, headers={"Set-Cookie": set_cookie(token, settings.secure)})


@post("/signout", status_code=200)
async def sign_out(request: AnyRequest, db: Database, settings: Settings, verifier: Verifier) -> Response[dict[str, Any]]:
    known = verifier.signed_by_us(request.cookies.get(cookie_name(settings.secure), ""))
    if known is not None:
        async with db.transaction() as tx:
            await commands.sign_out(tx, known.session_id, tx.now)
    return Response({}, headers={"Set-Cookie": set_cookie("", settings.secure)})


@get("/currentuser")
async def current_user(visitor: User | None) -> CurrentUser:
    return CurrentUser(UserView(visitor.id, visitor.email) if visitor else None)


def _signed_in(session: Session, signer: Signer, settings: Settings, status_code: int) -> Response[UserView]:
    token = signer.token(session.user_id, session.email, session.session_id)
    return Response(
        UserView(session.user_id, session.email),
        status_code=status_code,
        headers={"Set-Cookie": set_cookie(token, settings.secure), "Cache-Control": "no-store"},
    )


ROUTES = (sign_up, sign_in, refresh, sign_out, current_user)
