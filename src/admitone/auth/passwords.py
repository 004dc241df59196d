"""Passwords, by argon2id with OWASP's parameters: 32 ms of a core each, so in a thread, and two at a time."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
NOBODYS_HASH = HASHER.hash("so that an unknown account takes as long as a wrong password")
_at_once = asyncio.Semaphore(2)


async def hash_password(password: str) -> str:
    async with _at_once:
        return await asyncio.to_thread(HASHER.hash, password)


async def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the password is right. For an unknown account the check takes as long."""
    async with _at_once:
        return await asyncio.to_thread(_verify, password, password_hash or NOBODYS_HASH) and password_hash is not None


def _verify(password: str, password_hash: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except Argon2Error:
        return False
