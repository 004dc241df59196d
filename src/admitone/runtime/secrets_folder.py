"""All secrets of a marketplace whose services run apart: a folder per secret, with a file for each key."""

import base64
import hashlib
import os
import secrets
from pathlib import Path

from admitone.auth.tokens import make_key, public_key
from admitone.config import DATABASES, SERVICES_WITH_A_DATABASE, TEST_PROCESSOR, owner_of
from admitone.runtime.data_folder import passwords_in, write_secret
from admitone.runtime.nats_users import USERS, users

ADMINISTRATOR = "admitone"
TEAM = "team"


def make_secrets(folder: Path, postgres: str, nats: str) -> list[str]:
    """Write what is missing into the folder, and the addresses anew; returns the names of the secrets.

    `postgres` and `nats` are the addresses of the engines, without users. Passwords and the key are made up once and stay: all of them
    lie in passwords.json and auth/signing-key.pem. Raises OSError where the folder can't be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    roles = [role for service in DATABASES for role in dict.fromkeys((service, owner_of(service)))]
    names = [f"postgres/{role}" for role in (ADMINISTRATOR, *roles)] + [f"nats/{user}" for user in (ADMINISTRATOR, *USERS)] + [TEAM]
    passwords = passwords_in(folder / "passwords.json", names)

    def database(service: str, role: str) -> str:
        return _with_user(postgres, role, passwords[f"postgres/{role}"], f"/{service}")

    files = {f"{user}/nats-url": _with_user(nats, user, passwords[f"nats/{user}"]) for user in USERS}
    for service in SERVICES_WITH_A_DATABASE:
        owner = owner_of(service)
        files |= {f"{service}/database-url": database(service, service), f"{service}-owner/database-url": database(service, owner)}
        files |= _account(f"{service}-owner", owner, passwords) | _account(f"{service}-role", service, passwords)
    files |= {f"payments/{TEST_PROCESSOR}-database-url": database(TEST_PROCESSOR, TEST_PROCESSOR)}
    files |= _account(f"{TEST_PROCESSOR}-role", TEST_PROCESSOR, passwords) | _account("postgres", ADMINISTRATOR, passwords)
    files |= {"postgres/database-url": database("postgres", ADMINISTRATOR)}
    files |= {
        "nats/nats-url": _with_user(nats, ADMINISTRATOR, passwords[f"nats/{ADMINISTRATOR}"]),
        "nats/users.conf": _users_conf(passwords),
    }
    files |= {"team/password": passwords[TEAM], "team/auth": f"{TEAM}:{_salted(passwords[TEAM])}"}
    key = folder / "auth" / "signing-key.pem"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        make_key(key)
    files["keys/public-keys"] = public_key(key)
    for name, text in files.items():
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_secret(folder / name, text)
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _account(secret: str, role: str, passwords: dict[str, str]) -> dict[str, str]:
    return {f"{secret}/username": role, f"{secret}/password": passwords[f"postgres/{role}"]}


def _with_user(address: str, user: str, password: str, path: str = "") -> str:
    """Each of the address's servers with the same user; passwords need no quoting, as they are made up here."""
    scheme, _, rest = address.partition("://")
    servers, _, query = rest.partition("?")
    hosts = [server.rpartition("://")[2].partition("/")[0] for server in servers.split(",")]
    if scheme in ("nats", "tls"):
        return ",".join(f"{scheme}://{user}:{password}@{host}" for host in hosts)
    return f"postgresql://{user}:{password}@{','.join(hosts)}{path}{'?' if query else ''}{query}"


def _users_conf(passwords: dict[str, str]) -> str:
    """For `authorization { include users.conf }`: the administrator may do everything, each service what is its own."""
    own = {user: passwords[f"nats/{user}"] for user in USERS}
    return f'users: [\n{{ user: {ADMINISTRATOR}, password: "{passwords[f"nats/{ADMINISTRATOR}"]}" }}\n{users(own)}\n]\n'


def _salted(password: str) -> str:
    """As nginx reads it in a file of passwords. The password is 24 random bytes, so a slow hash would add nothing."""
    salt = secrets.token_bytes(8)
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()
