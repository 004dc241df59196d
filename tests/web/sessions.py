"""Sessions without an auth service: tokens signed with a key of our own, and who checks them."""

import base64
import time
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admitone.kit.http.session import ALGORITHM, ISSUER, Verifier, key_id

KEY = Ed25519PrivateKey.generate()
RAW = KEY.public_key().public_bytes_raw()
VERIFIER = Verifier([base64.urlsafe_b64encode(RAW).decode()])
ANN = str(uuid4())


def token(seconds_left: float, key: Ed25519PrivateKey = KEY) -> str:
    now = time.time()
    claims = {"iss": ISSUER, "id": ANN, "email": "ann@example.com", "roles": [], "sid": str(uuid4()), "iat": now, "exp": now + seconds_left}
    return jwt.encode(claims, key, ALGORITHM, {"kid": key_id(RAW)})
