"""A token counts only if auth has signed it, it is whole and it has not ended."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admitone.auth.tokens import Signer
from admitone.kit.http.session import TOKEN_SECONDS, User, Verifier, cookie_name, key_id, set_cookie

KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
ANOTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"b" * 32)
RAW = KEY.public_key().public_bytes_raw()
KEY_ID = key_id(RAW)


def text_of(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")


@pytest.fixture
def verifier() -> Verifier:
    return Verifier([text_of(KEY)])


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole: dict[str, Any] = {"iss": "admitone", "id": str(uuid4()), "email": "ann@example.com", "roles": [], "sid": str(uuid4())}
    whole |= {"iat": now, "exp": now + TOKEN_SECONDS} | changes
    return {name: value for name, value in whole.items() if value is not ...}


def signed(key: Any = KEY, algorithm: str = "EdDSA", kid: Any = KEY_ID, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid} if kid is not ... else {})


def by_hand(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_a_token_that_auth_has_made_is_believed(verifier: Verifier) -> None:
    user_id, session_id = uuid4(), uuid4()
    token = Signer(KEY).token(user_id, "ann@example.com", session_id)
    user = verifier.user(token)
    assert isinstance(user, User)
    assert (user.id, user.email, user.session_id, user.roles) == (user_id, "ann@example.com", session_id, ())
    assert 0 < user.expires - time.time() <= 15 * 60
    assert verifier.user(token) == user


def test_either_of_two_keys_is_believed_while_keys_are_changed() -> None:
    both = Verifier([text_of(KEY), text_of(ANOTHER_KEY)])
    for key in (KEY, ANOTHER_KEY):
        assert both.user(Signer(key).token(uuid4(), "ann@example.com", uuid4())) is not None


def hs256_with_the_public_key(secret: bytes) -> str:
    """The classic: the public key, which everybody knows, used as the secret of a symmetric signature."""
    token = by_hand({"alg": "HS256", "typ": "JWT", "kid": KEY_ID}, claims()).rstrip(".")
    signature = hmac.new(secret, token.encode(), hashlib.sha256).digest()
    return f"{token}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
FORGED = {
    "signed with another key": signed(ANOTHER_KEY),
    "signed with another key that it names": signed(ANOTHER_KEY, kid=key_id(ANOTHER_KEY.public_key().public_bytes_raw())),
    "alg none": by_hand({"alg": "none", "typ": "JWT", "kid": KEY_ID}, claims()),
    "alg None": by_hand({"alg": "None", "kid": KEY_ID}, claims()),
    "alg none without a third part": by_hand({"alg": "none", "kid": KEY_ID}, claims()).rstrip("."),
    "alg missing": by_hand({"kid": KEY_ID}, claims(), b"x" * 64),
    "EdDSA without a signature": by_hand({"alg": "EdDSA", "kid": KEY_ID}, claims()),
    "HS256 with the raw public key": hs256_with_the_public_key(RAW),
    "HS256 with the public key as text": hs256_with_the_public_key(text_of(KEY).encode()),
    "HS256 with the public key as PEM": hs256_with_the_public_key(PEM),
    "unknown key id": signed(kid="0" * 16),
    "no key id": signed(kid=...),
    "key id that is a list": by_hand({"alg": "EdDSA", "kid": [KEY_ID]}, claims(), b"x" * 64),
    "key id that is null": by_hand({"alg": "EdDSA", "kid": None}, claims(), b"x" * 64),
    "another issuer": signed(iss="somebody"),
    "issuer missing": signed(iss=...),
    "end missing": signed(exp=...),
    "beginning missing": signed(iat=...),
    "user missing": signed(id=...),
    "user that is no id": signed(id="ann"),
    "user that is a number": signed(id=5),
    "user that is null": signed(id=None),
    "session missing": signed(sid=...),
    "roles missing": signed(roles=...),
    "address missing": signed(email=...),
    "end that is no time": signed(exp="soon"),
    "end that is null": signed(exp=None),
    "claims that are a list": by_hand({"alg": "EdDSA", "kid": KEY_ID}, [1], b"x" * 64),
    "nothing": "",
    "dots": "..",
    "no token": "nonsense",
    "no ASCII": "é.é.é",
    "surrogate": "\ud800.a.b",
    "NUL": "\0",
    "very long": "a" * 100_000,
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_nobodys(verifier: Verifier, token: str) -> None:
    assert verifier.user(token) is None
    assert verifier.signed_by_us(token) is None


@pytest.mark.parametrize("cut", [1, 2, 10, 60, 87])
def test_a_truncated_token_is_nobodys(verifier: Verifier, cut: int) -> None:
    token = signed()
    assert verifier.user(token) is not None
    assert verifier.user(token[:-cut]) is None
    assert verifier.user(token[cut:]) is None


def test_a_token_with_other_claims_under_the_same_signature_is_nobodys(verifier: Verifier) -> None:
    header, _payload, signature = signed().split(".")
    others = by_hand({}, claims(email="eve@example.com")).split(".")[1]
    assert verifier.user(f"{header}.{others}.{signature}") is None


def test_a_token_that_has_ended_is_nobodys_but_still_known_as_ours(verifier: Verifier) -> None:
    ended = signed(exp=int(time.time()) - 1)
    assert verifier.user(ended) is None
    known = verifier.signed_by_us(ended)
    assert known is not None
    assert isinstance(known.session_id, UUID)


def test_a_token_that_was_checked_before_ends_all_the_same(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    assert verifier.user(token) is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_SECONDS + 1)
    assert verifier.user(token) is None


@pytest.mark.parametrize(("secure", "name"), [(True, "__Host-session"), (False, "session")])
def test_the_cookie_is_kept_from_scripts_and_other_sites(secure: bool, name: str) -> None:
    cookie = set_cookie("token", secure)
    assert cookie.startswith(f"{name}=token; Path=/; ")
    assert cookie_name(secure) == name
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("; Secure" in cookie) is secure
    assert "Domain" not in cookie
    assert "Max-Age=0" in set_cookie("", secure)


def test_no_more_tokens_are_remembered_than_the_limit(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admitone.kit.http.session.MAX_REMEMBERED_TOKENS", 3)
    for number in range(10):
        assert verifier.user(signed(exp=int(time.time()) + 60 + number)) is not None
        assert len(verifier._seen) <= 3
