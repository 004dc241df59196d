"""Whose request it is: the client's address, told by proxies that are trusted, and by nobody else."""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

FORWARDED_FOR = b"x-forwarded-for"
IPV6_PREFIX = 64
"""Whoever has one IPv6 address has all of its /64: they count as one client."""


def address_of(scope: Any, trusted: Sequence[Network]) -> str:
    """The client's address, an IPv6 one as its /64.

    Of X-Forwarded-For only what trusted proxies have added counts: from the right, the first address that is none of theirs.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    given = [value for name, value in scope["headers"] if name == FORWARDED_FOR]
    if given and _is_trusted(peer, tuple(trusted)):
        for text in reversed(b",".join(given).decode("latin-1").split(",")):
            if not _is_address(text.strip()):
                break
            peer = text.strip()
            if not _is_trusted(peer, tuple(trusted)):
                break
    return _counted(peer)


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks with commas in between. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@functools.lru_cache(maxsize=10_000)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=10_000)
def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    if not _is_address(text):
        return False
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in trusted if network.version == address.version)


@functools.lru_cache(maxsize=10_000)
def _counted(text: str) -> str:
    if not _is_address(text):
        return text
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address, IPV6_PREFIX), strict=False))
    return text
