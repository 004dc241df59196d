"""The session: a JWT in a cookie, signed by auth alone and checked by every service for itself."""

import base64
import hashlib
import time
from collections.abc import Iterable
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ISSUER = "admitone"
ALGORITHM = "EdDSA"
TOKEN_SECONDS = 15 * 60
SESSION_SECONDS = 30 * 24 * 3600


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, as the token says."""

    id: UUID
    email: str
    roles: tuple[str, ...] = ()
    session_id: UUID
    expires: float
    """When the token ends, in seconds since 1970."""


def cookie_name(secure: bool) -> str:
    """The __Host- prefix makes a browser refuse a cookie that a neighbour under the same domain has set."""
    return "__Host-session" if secure else "session"


def set_cookie(token: str, secure: bool) -> str:
    """The Set-Cookie header. The cookie outlives its token, so that a session can be renewed for as long as it lives."""
    seconds = SESSION_SECONDS if token else 0
    return f"{cookie_name(secure)}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


def key_id(raw_public_key: bytes) -> str:
    """The name of a key: the beginning of its hash."""
    return hashlib.sha256(raw_public_key).hexdigest()[:16]


MAX_REMEMBERED_TOKENS = 10_000


class Verifier:
    """Checks tokens against a closed set of public keys. Those checked already are remembered until they end."""

    def __init__(self, public_keys: Iterable[str]) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._seen: dict[str, User] = {}
        for text in public_keys:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            self._keys[key_id(raw)] = Ed25519PublicKey.from_public_bytes(raw)

    @property
    def key_ids(self) -> list[str]:
        """The names of the keys whose signatures count."""
        return sorted(self._keys)

    def user(self, token: str) -> User | None:
        """Whose token this is, or None for one that is not ours, not whole or has ended."""
        user = self._seen.get(token) or self.signed_by_us(token)
        if user is None or user.expires <= time.time():
            self._seen.pop(token, None)
            return None
        if len(self._seen) >= MAX_REMEMBERED_TOKENS:
            self._seen.clear()
        self._seen[token] = user
        return user

    def signed_by_us(self, token: str) -> User | None:
        """The user of a token with our signature, also if it has expired: a session is renewed with it."""
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                options={"require": ["exp", "iat", "iss"], "verify_exp": False, "verify_iat": False},
            )
            return User(
                id=UUID(claims["id"]),
                email=str(claims["email"]),
                roles=tuple(claims["roles"]),
                session_id=UUID(claims["sid"]),
                expires=float(claims["exp"]),
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
            return None
