"""Cookies that somebody made who is not auth, from a true session: nobody's, each of them.

The ones that `key` has signed could not be made by a stranger. They are what an older or a careless auth would have made.
"""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admitone.kit.http.session import key_id


def forgeries(true: str, key: Ed25519PrivateKey, victim: str) -> dict[str, str]:
    """The values of the session cookie, by what is wrong with each; `true` is a good one, `victim` the id of another user."""
    header, payload, signature = true.split(".")
    known, claims = decoded(header), decoded(payload)
    now = int(time.time())
    another = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def signed(by: Ed25519PrivateKey = key, kid: str | None = known["kid"], alg: str = "EdDSA", **changes: Any) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not ...}
        text = f"{part({'alg': alg, 'typ': 'JWT', **({'kid': kid} if kid else {})})}.{part(changed)}"
        return f"{text}.{_base64(by.sign(text.encode()))}"

    def hs256(secret: bytes) -> str:
        text = f"{part({**known, 'alg': 'HS256'})}.{payload}"
        return f"{text}.{_base64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    assert jwt.decode(signed(), key.public_key(), algorithms=["EdDSA"], options={"verify_exp": False})["id"] == claims["id"]
    return {
        "alg none": f"{part({**known, 'alg': 'none'})}.{payload}.",
        "alg none, with the true signature": f"{part({**known, 'alg': 'none'})}.{payload}.{signature}",
        "alg NoNe, without a third part": f"{part({**known, 'alg': 'NoNe'})}.{payload}",
        "alg in other letters": signed(alg="eddsa"),
        "unsigned": f"{header}.{payload}.",
        "signed with another key": signed(another),
        "from another installation": signed(another, kid=key_id(another.public_key().public_bytes_raw())),
        "HS256 with the public key": hs256(raw),
        "HS256 with the public key as PEM": hs256(pem),
        "unknown key id": signed(kid="0" * 16),
        "no key id": signed(kid=None),
        "key id that is a path": signed(kid="../../dev/null"),
        "no end": signed(exp=...),
        "no user": signed(id=...),
        "no session": signed(sid=...),
        "no roles": signed(roles=...),
        "another issuer": signed(iss="somebody"),
        "not valid yet": signed(nbf=now + 3600),
        "in the past, and signed with another key": signed(another, exp=now - 5),
        "another user under the true signature": f"{header}.{part({**claims, 'id': victim})}.{signature}",
        "another session under the true signature": f"{header}.{part({**claims, 'sid': str(uuid4())})}.{signature}",
        "a longer life under the true signature": f"{header}.{part({**claims, 'exp': now + 10**6})}.{signature}",
        "truncated": true[:-5],
        "doubled": f"{signed(another)}; session={true[:-5]}",
        "nonsense": "nonsense",
        "empty": "",
        "long": "x" * 5000,
    }


def expired(true: str, key: Ed25519PrivateKey) -> str:
    """The same session's token, signed by auth, whose time was over a minute ago."""
    header, payload, _ = true.split(".")
    now = int(time.time())
    text = f"{header}.{part({**decoded(payload), 'iat': now - 960, 'exp': now - 60})}"
    return f"{text}.{_base64(key.sign(text.encode()))}"


def decoded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=="))
    return found


def part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
