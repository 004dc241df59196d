"""Who is asking: a token is renewed before it ends, and nobody travels with another's session."""

import contextlib
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from web.sessions import ANN, VERIFIER, token

from admitone.config import Settings
from admitone.kit.http.session import set_cookie
from admitone.web.api import Api, Away, client_of
from admitone.web.visitor import SignInFirst, Visitor, who_is_asking


class Auth:
    """Stands in for the network: what auth answers, and what it was asked."""

    def __init__(self, status: int = 200, new_token: str = "") -> None:
        self.asked: list[httpx.Request] = []
        self.status = status
        self.new_token = new_token

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, json={}, headers={"Set-Cookie": set_cookie(self.new_token, False)} if self.new_token else {})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://auth.test")


async def test_a_token_with_time_left_is_used_as_it_is() -> None:
    auth, fresh = Auth(), token(600)
    visitor = await who_is_asking(fresh, VERIFIER, auth.client(), secure=False)
    assert visitor.user is not None
    assert (visitor.user.email, visitor.cookie, visitor.new_cookie) == ("ann@example.com", f"session={fresh}", None)
    assert auth.asked == []


@pytest.mark.parametrize("seconds_left", [200, 0, -5000])
async def test_a_token_that_ends_soon_or_has_ended_is_renewed(seconds_left: float) -> None:
    old, new = token(seconds_left), token(900)
    auth = Auth(new_token=new)
    visitor = await who_is_asking(old, VERIFIER, auth.client(), secure=False)
    assert visitor.user is not None
    assert str(visitor.user.id) == ANN
    assert visitor.cookie == f"session={new}"
    assert visitor.new_cookie == set_cookie(new, secure=False)
    assert [(request.url.path, request.headers["cookie"]) for request in auth.asked] == [("/api/users/refresh", f"session={old}")]


async def test_a_session_that_is_over_leaves_nobody_and_takes_the_cookie_away() -> None:
    visitor = await who_is_asking(token(-5), VERIFIER, Auth(401).client(), secure=False)
    assert visitor == Visitor(new_cookie=set_cookie("", secure=False))
    with pytest.raises(SignInFirst):
        visitor.must_be_signed_in(back="/sell")


async def test_while_auth_is_away_a_token_lasts_as_long_as_it_lasts() -> None:
    still_good = await who_is_asking(token(100), VERIFIER, Auth(503).client(), secure=False)
    assert still_good.must_be_signed_in(back="/").email == "ann@example.com"
    ended = await who_is_asking(token(-100), VERIFIER, Auth(503).client(), secure=False)
    assert ended.new_cookie is None
    with pytest.raises(Away):
        ended.must_be_signed_in(back="/")


@pytest.mark.parametrize("nonsense", ["", "x", "a.b.c", token(600, Ed25519PrivateKey.generate())])
async def test_a_token_that_is_not_ours_is_nobodys_and_goes_nowhere(nonsense: str) -> None:
    auth = Auth()
    assert await who_is_asking(nonsense, VERIFIER, auth.client(), secure=False) == Visitor()
    assert auth.asked == []


async def test_each_service_is_asked_at_its_own_address() -> None:
    auth = Auth(new_token=token(900))
    client = client_of(Settings(service_urls={"auth": "http://auth:8001"}, services_url="http://127.0.0.1:8000"), None)
    client._transport = httpx.MockTransport(auth)
    await Api(client).sign_in("ann@example.com", "correct horse")
    with contextlib.suppress(Away):  # Its answer is no ticket.
        await Api(client).ticket(uuid4())
    assert [(request.url.host, request.url.port, request.headers["host"]) for request in auth.asked] == [
        ("auth", 8001, "auth:8001"),
        ("127.0.0.1", 8000, "127.0.0.1:8000"),
    ]


async def test_the_client_keeps_no_cookie_for_the_next_visitor() -> None:
    auth = Auth(new_token=token(900))
    client = client_of(Settings(), None)
    client._transport = httpx.MockTransport(auth)
    await Api(client).sign_in("ann@example.com", "correct horse")
    await Api(client).sign_out()
    assert [request.headers.get("cookie") for request in auth.asked] == [None, None]
