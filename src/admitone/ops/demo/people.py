"""Who acts in the demo: five people whose passwords are known to everybody."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from admitone.web.api import Api, Away, Refused

RENEW_AFTER_SECONDS = 8 * 60
"""A session's token lives for a quarter of an hour."""

NAMES = {"Maya": "sells", "Tomás": "sells", "Aiko": "sells", "Zawadi": "buys", "Leïla": "buys"}
PLAIN = str.maketrans("áï", "ai")


class NoDemo(Exception):
    """Why there is nothing to show: a sentence for the person who asked for it."""


@dataclass
class Person:
    name: str
    does: str
    api: Api
    client: httpx.AsyncClient
    signed_in: float

    @property
    def email(self) -> str:
        return email_of(self.name)

    @property
    def password(self) -> str:
        return password_of(self.name)

    async def stays(self) -> None:
        """Whoever acts for hours renews the session in time."""
        if time.monotonic() - self.signed_in > RENEW_AFTER_SECONDS:
            self.api, self.signed_in = Api(self.client, _cookie(await self.api.refresh())), time.monotonic()


@dataclass(frozen=True)
class Company:
    sellers: list[Person]
    buyers: list[Person]

    @property
    def all(self) -> list[Person]:
        return [*self.sellers, *self.buyers]


async def is_open(client: httpx.AsyncClient) -> None:
    """Raises NoDemo unless a marketplace answers there."""
    with contextlib.suppress(httpx.HTTPError, ValueError):
        answer = await client.get("/api/users/currentuser")
        if answer.is_success and "currentUser" in answer.json():
            return
    raise NoDemo(f"No marketplace answers at {client.base_url}: start it with `make run`, or say with --url where it is.")


async def company(client: httpx.AsyncClient) -> Company:
    """All of them, signed in; those who are not there yet, signed up. Raises NoDemo."""
    everybody = await asyncio.gather(*(_person(client, name, does) for name, does in NAMES.items()))
    return Company([one for one in everybody if one.does == "sells"], [one for one in everybody if one.does == "buys"])


async def _person(client: httpx.AsyncClient, name: str, does: str) -> Person:
    email, password, nobody = email_of(name), password_of(name), Api(client)
    try:
        cookie = await nobody.sign_up(email, password)
    except Refused as refused:
        if refused.kind != "email-taken":
            raise
        try:
            cookie = await nobody.sign_in(email, password)
        except Refused as wrong:
            raise NoDemo(f"{email} has an account here already, with another password than the demo's: {wrong.detail}") from wrong
    return Person(name, does, Api(client, _cookie(cookie)), client, time.monotonic())


def email_of(name: str) -> str:
    return f"{name.lower().translate(PLAIN)}@demo.example"


def password_of(name: str) -> str:
    return f"{name.lower().translate(PLAIN)}-likes-tickets"


@contextlib.contextmanager
def told_in_a_sentence(url: str) -> Iterator[None]:
    try:
        yield
    except* Away:
        raise NoDemo(f"The marketplace at {url} does not answer any more.") from None
    except* Refused as group:
        raise NoDemo(f"The marketplace at {url} refused what the demo does: {_first(group)}") from None


def _first(group: BaseExceptionGroup[Refused]) -> Refused:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Refused)
    return error


def _cookie(header: str) -> str:
    """Of a Set-Cookie header, what the Cookie header has."""
    return header.partition(";")[0]
