"""How the text of a setting becomes a value. What can't be used raises a ValueError whose message goes on after the setting's name."""

import base64
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from admitone.kit.delivery.connection import parse as parse_nats_urls
from admitone.kit.http.client_address import Network, networks

NOT_OF_TWO_DECIMALS = frozenset({
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",  # no decimals
    "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND",  # three decimals
})  # fmt: skip
"""Currencies whose smallest unit is no hundredth: an amount in cents would be charged a hundred or ten times wrong."""


def text_of(name: str, environ: Mapping[str, str]) -> str:
    """A setting's text: its own, or that of the file which NAME_FILE names, as a mounted secret. Empty where there is neither."""
    if text := environ.get(name, ""):
        return text
    if not (file := environ.get(f"{name}_FILE", "")):
        return ""
    try:
        text = Path(file).read_text().strip()
    except (OSError, ValueError):
        text = ""
    if not text:  # The value may be the secret itself: it is not repeated.
        raise ValueError("must be the name of a file that is there, and not empty")
    return text


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {text[:40]!r}")
        return int(text)

    return parse


def yes_or_no(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"must be 1 or 0, not {text[:40]!r}")
    return text == "1"


def address(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            url = urlsplit(text)
            usable = url.scheme in schemes and (bool(url.hostname) or url.query.startswith("host=")) and (url.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:  # The value may hold a password: it is not repeated.
            raise ValueError(f"must be an address that begins with {schemes[0]}://")
        return text.rstrip("/")

    return parse


def proxies(text: str) -> tuple[Network, ...]:
    try:
        return networks(text)
    except ValueError:
        raise ValueError(
            f"must be addresses or networks with commas in between, such as 10.0.0.0/8 or 192.0.2.1, not {text[:40]!r}"
        ) from None


def nats_urls(text: str) -> str:
    """One address or several, with commas in between."""
    try:
        parse_nats_urls(text)
    except ValueError:  # The value may hold a password: it is not repeated.
        raise ValueError("must be an address that begins with nats:// or tls://, or several with commas in between") from None
    return text.rstrip("/")


def database_url(text: str) -> str:
    """An address of PostgreSQL. It may name several servers: postgresql://user:password@one:5432,two:5432/name."""
    parts = urlsplit(text)
    before, at, hosts = parts.netloc.rpartition("@")
    for host in hosts.split(","):
        address("postgresql", "postgres")(urlunsplit((parts.scheme, f"{before}{at}{host}", parts.path, parts.query, "")))
    return text.rstrip("/")


def public_url(allow_http: bool) -> Callable[[str], str]:
    def parse(text: str) -> str:
        url = urlsplit(address("http", "https")(text))
        if url.path or url.query or url.fragment or "@" in url.netloc:
            raise ValueError("must be an address without a user or a path, such as https://tickets.example")
        if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1") and not allow_http:
            raise ValueError(
                "must begin with https:// for any host but localhost: cookies travel with it "
                "(ADMITONE_ALLOW_HTTP=1 permits it, for trying things out)"
            )
        default_port = {"http": ":80", "https": ":443"}[url.scheme]
        return f"{url.scheme}://{url.netloc.lower().removesuffix(default_port)}"  # As a browser's Origin has it.

    return parse


def origins(allow_http: bool) -> Callable[[str], frozenset[str]]:
    parse = public_url(allow_http)

    def parse_all(text: str) -> frozenset[str]:
        return frozenset(parse(part.strip()) for part in text.split(",") if part.strip())

    return parse_all


def marketplace(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", text):
        raise ValueError(f"must be a name of at most 40 lower-case letters, digits and hyphens, such as town-hall, not {text[:40]!r}")
    return text


def existing_file(text: str) -> Path:
    try:
        found = Path(text).is_file()
    except OSError:
        found = False
    if not found:  # The value may be the key itself: it is not repeated.
        raise ValueError("must be the name of a file that is there")
    return Path(text)


def currency(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError(f"must be a currency's three letters, such as USD, not {text[:40]!r}")
    if text in NOT_OF_TWO_DECIMALS:
        raise ValueError(f"must be a currency with cents; {text} has none, or more than two decimals")
    return text


def percent(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", text) or Decimal(text) > 100:
        raise ValueError(f"must be a percentage from 0 to 100 with at most two decimals, such as 2.5, not {text[:40]!r}")
    return int(Decimal(text) * 100)


def stripe_key(*kinds: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(
            rf"({'|'.join(kinds)})_(test|live)_[A-Za-z0-9]{{8,250}}", text
        ):  # It may be another secret: it is not repeated.
            raise ValueError(f"must be a key that begins with {' or '.join(f'{kind}_test_ or {kind}_live_' for kind in kinds)}")
        return text

    return parse


def stripe_webhook_secret(text: str) -> str:
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/=_-]{8,250}", text):
        raise ValueError("must be the signing secret of the webhook endpoint; it begins with whsec_")
    return text


def hosts_of(text: str) -> list[str]:
    """The hosts of an address with one server or several; none for a socket."""
    addresses = [part.rpartition("://")[2].rpartition("@")[2] for part in text.partition("?")[0].split(",")]
    hosts = [re.split(r"[/?]", address)[0] for address in addresses]
    return [re.sub(r":[0-9]+$", "", host).strip("[]") for host in hosts if host]


def public_keys(text: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    for key in keys:
        try:
            if len(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))) != 32:
                raise ValueError
        except ValueError:
            raise ValueError("must be Ed25519 public keys in base64url, with commas in between (`admitone keygen` prints one)") from None
    return keys
