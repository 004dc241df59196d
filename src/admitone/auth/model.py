"""Who a user is, and what can be refused."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta, Struct

from admitone.kit.http.form import Moment
from admitone.kit.http.problem import Problem

Email = Annotated[
    str,
    Meta(
        title="e-mail address",
        max_length=254,
        pattern=r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+\Z",
        description="must be an e-mail address such as ann@example.com",
        examples=["ann@example.com"],
    ),
]
Password = Annotated[str, Meta(min_length=8, max_length=128, description="must have 8 to 128 characters", examples=["correct horse"])]


class SignUpForm(Struct):
    email: Email
    password: Password


class PasswordForm(Struct, rename="camel"):
    current_password: Annotated[
        str, Meta(min_length=1, max_length=128, description="must be the account's password", examples=["correct horse"])
    ]
    password: Password


class SignInForm(Struct):
    email: Annotated[
        str,
        Meta(
            title="e-mail address",
            min_length=1,
            max_length=254,
            description="must be the e-mail address of the account",
            examples=["ann@example.com"],
        ),
    ]
    password: Annotated[
        str,
        Meta(min_length=1, max_length=128, description="must be the account's password", examples=["correct horse"]),
    ]


class User(Struct, frozen=True, kw_only=True):
    user_id: UUID
    version: int
    email: str
    password_hash: str
    created_at: datetime


class Session(Struct, frozen=True, kw_only=True):
    session_id: UUID
    user_id: UUID
    email: str


class LiveSession(Struct, frozen=True, kw_only=True):
    session_id: UUID
    browser: str
    """What the browser called itself when its user signed in."""
    created_at: datetime
    used_at: datetime


class SessionView(Struct, frozen=True, rename="camel"):
    """A place where one is signed in."""

    id: UUID
    browser: str
    """What the browser called itself (User-Agent); empty where it did not."""
    created_at: Moment
    used_at: Moment
    """When its token was last made anew: every quarter of an hour while it is in use."""
    current: bool
    """Whether it is the session of this request."""


class PublicKey(Struct, frozen=True):
    """A key that sessions are checked with, as RFC 8037 has it."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    alg: str = "EdDSA"
    use: str = "sig"


class PublicKeys(Struct, frozen=True):
    keys: list[PublicKey]


class UserView(Struct, frozen=True):
    id: UUID
    email: str


class CurrentUser(Struct, frozen=True, rename="camel"):
    current_user: UserView | None


class EmailTaken(Problem):
    """There is an account with this e-mail address already."""

    status = 409
    field = "email"


class WeakPassword(Problem):
    """This password is easily guessed: it is among the commonest, or made of this site's name or your address. Choose another."""

    status = 400
    field = "password"


class WrongPassword(Problem):
    """That is not your password."""

    status = 400
    field = "currentPassword"


class WrongCredentials(Problem):
    """The e-mail address or the password is wrong."""

    status = 400


class TooManyTries(Problem):
    """Too many failed tries for this account. Please wait a quarter of an hour."""

    status = 429
    headers: ClassVar[dict[str, str]] = {"Retry-After": "900"}


class SessionOver(Problem):
    """This session has ended. Please sign in again."""

    status = 401
