"""Signing sessions. Only auth holds the private key; everybody else can only check."""

import base64
import os
import time
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admitone.config import Settings, WrongSettings
from admitone.kit.http.session import ALGORITHM, ISSUER, TOKEN_SECONDS, Verifier, key_id


class Signer:
    """Makes tokens with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key().public_bytes_raw())

    @classmethod
    def of(cls, settings: Settings) -> "Signer":
        """A signer with the key file of the settings. Raises WrongSettings without a usable key, or with one that nobody would accept."""
        if settings.signing_key_file is None:
            raise WrongSettings("auth has no key to sign with: set ADMITONE_SIGNING_KEY_FILE (`admitone keygen FILE` makes one).")
        signer = cls(read_key(settings.signing_key_file))
        if signer.key_id not in Verifier(settings.public_keys).key_ids:
            raise WrongSettings(
                f"ADMITONE_PUBLIC_KEYS lacks the public half of {settings.signing_key_file}: every service would refuse the sessions that "
                "auth signs. `admitone keygen` printed it when the key was made; all services must be given the same keys."
            )
        return signer

    def token(self, user_id: UUID, email: str, session_id: UUID) -> str:
        """A token for 15 minutes."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "id": str(user_id),
            "email": email,
            "roles": [],
            "sid": str(session_id),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})


def read_key(file: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises WrongSettings for a file without an Ed25519 key."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise WrongSettings(f"ADMITONE_SIGNING_KEY_FILE: no key can be read from {file}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise WrongSettings(f"ADMITONE_SIGNING_KEY_FILE: {file} holds a key that is no Ed25519 key.")
    return key


def make_key(file: Path) -> None:
    """Write a new private key, which only its owner can read. Raises FileExistsError rather than replace one."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(pem)


def public_key(file: Path) -> str:
    """The public half, as ADMITONE_PUBLIC_KEYS takes it."""
    return base64.urlsafe_b64encode(read_key(file).public_key().public_bytes_raw()).decode().rstrip("=")
