"""Who is asking. A session whose token ends soon is renewed unasked, so that nobody is signed out half-way."""

import time
from dataclasses import dataclass

import httpx

from admitone.config import Settings
from admitone.kit.http.binding import AnyRequest, Finder
from admitone.kit.http.session import User, Verifier, cookie_name, set_cookie
from admitone.web.api import Api, Away, Refused
from admitone.web.changes import LiveChanges

RENEW_WITHIN_SECONDS = 5 * 60


class SignInFirst(Exception):
    """This page is for somebody who is signed in; `back` is where they go on afterwards."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


@dataclass(frozen=True)
class Visitor:
    user: User | None = None
    cookie: str = ""
    """Their session, as the Cookie header of our calls has it."""
    new_cookie: str | None = None
    """The Set-Cookie header that the answer brings them, whatever the answer is."""
    away: Away | None = None
    """Set when they have a session that can't be renewed just now: they are not to be sent to sign in."""

    def must_be_signed_in(self, back: str) -> User:
        """Raises SignInFirst, or Away while nobody can say who they are."""
        if self.user is not None:
            return self.user
        raise self.away or SignInFirst(back)


async def who_is_asking(token: str, verifier: Verifier, client: httpx.AsyncClient, secure: bool) -> Visitor:
    """The visitor with this token: valid, ended but renewed, or not ours at all."""
    known = verifier.signed_by_us(token) if token else None
    if known is None:
        return Visitor()
    cookie = f"{cookie_name(secure)}={token}"
    if known.expires - time.time() > RENEW_WITHIN_SECONDS:
        return Visitor(known, cookie)
    try:
        new_cookie = await Api(client, cookie).refresh()
    except Refused as refused:
        if refused.status == 401:
            return Visitor(new_cookie=set_cookie("", secure))
        return Visitor(verifier.user(token), cookie, away=Away("/api/users/refresh"))
    except Away as away:
        return Visitor(verifier.user(token), cookie, away=away)
    new_token = new_cookie.partition(";")[0].partition("=")[2]
    return Visitor(verifier.user(new_token), f"{cookie_name(secure)}={new_token}", new_cookie)


async def visitor(request: AnyRequest, settings: Settings, verifier: Verifier, client: httpx.AsyncClient, live: LiveChanges) -> Visitor:
    request.state.since = await live.position()  # Whatever the page shows is asked for after this.
    token = request.cookies.get(cookie_name(settings.secure), "")
    found = await who_is_asking(token, verifier, client, settings.secure)
    request.state.visitor = found  # For what is rendered after the route has ended, an error page for one.
    return found


async def api(request: AnyRequest, visitor: Visitor, client: httpx.AsyncClient) -> Api:
    return Api(client, visitor.cookie, request.headers.get("user-agent", ""))


FINDERS: dict[str, Finder] = {"visitor": visitor, "api": api}
"""The kit's `visitor` is who the token names; ours is who the session belongs to."""
