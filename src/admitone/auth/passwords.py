"""Passwords, by argon2id with OWASP's parameters: 32 ms of a core each, so in a thread, and two at a time."""

import asyncio
import functools
import re
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
NOBODYS_HASH = HASHER.hash("so that an unknown account takes as long as a wrong password")
SITE = "admitone"
LEAST_DIFFERENT_CHARACTERS = 3
_at_once = asyncio.Semaphore(2)


async def hash_password(password: str) -> str:
    async with _at_once:
        return await asyncio.to_thread(HASHER.hash, _composed(password))


async def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the password is right. For an unknown account the check takes as long."""
    async with _at_once:
        return await asyncio.to_thread(_verify, password, password_hash or NOBODYS_HASH) and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with other parameters than hashes are made with today."""
    return HASHER.check_needs_rehash(password_hash)


def is_weak(password: str, email: str) -> bool:
    """Whether it is among the commonest, of two characters, or made of nothing but the site's name or the address, and digits."""
    folded = _composed(password).casefold()
    if folded.strip() in commonest() or len(set(folded)) < LEAST_DIFFERENT_CHARACTERS:
        return True
    local, _, domain = email.casefold().partition("@")
    host = domain.partition(".")[0]
    words = {_letters(word) for word in (SITE, local, domain, host, local + domain, local + host)}
    return _letters(folded) in words - {""}


@functools.cache
def commonest() -> frozenset[str]:
    """Those of at least eight characters among the 30,000 commonest, from the frequency lists of zxcvbn (MIT)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415  (five megabytes, for auth alone)

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 8)  # The least that a password has.


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text)


def _composed(password: str) -> str:
    """The same for the same word, whichever keyboard it was typed on."""
    return unicodedata.normalize("NFC", password)


def _verify(password: str, password_hash: str) -> bool:
    """As it is hashed today, or, where that is another, as it was typed: until version 0.2 it was hashed like that."""
    for typed in dict.fromkeys((_composed(password), password)):
        try:
            return HASHER.verify(password_hash, typed)
        except Argon2Error:
            continue
    return False
