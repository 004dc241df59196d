"""One way to connect to NATS, for everything that does."""

import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client

DEFAULT_PORT = 4222


async def connect(client: Client, urls: str, name: str, **options: Any) -> None:
    """Connect to the first of these servers that answers; `urls` has commas in between. Raises what Client.connect raises.

    The user and password of any of the addresses are for all of them: a server that is only heard of later asks for them, too.
    """
    servers, credentials = parse(urls)
    if any(server.startswith("tls://") for server in servers):
        credentials["tls"] = ssl.create_default_context()
    await client.connect(servers, name=name, **credentials, **options)


def parse(urls: str) -> tuple[list[str], dict[str, Any]]:
    """The servers without users, and the credentials. Raises ValueError for what is no address."""
    servers, credentials = [], dict[str, Any]()
    scheme = ""
    for text in urls.split(","):
        url = urlsplit(text.strip() if "://" in text or not scheme else f"{scheme}://{text.strip()}")
        scheme = url.scheme
        if url.scheme not in ("nats", "tls") or not url.hostname:
            raise ValueError("an address of NATS begins with nats:// or tls://")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        servers.append(f"{url.scheme}://{host}:{url.port or DEFAULT_PORT}")
        if url.username is not None and url.password is None:
            credentials = {"token": unquote(url.username)}
        elif url.username is not None:
            credentials = {"user": unquote(url.username), "password": unquote(url.password or "")}
    return servers, credentials
