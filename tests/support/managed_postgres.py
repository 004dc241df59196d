"""Roles and databases as CloudNativePG makes them from its objects. The rest, who may do what there, is left to the migrations."""

from collections.abc import Sequence
from pathlib import Path

import asyncpg
from support.manifests import Object, of_kind


async def create_managed(objects: Sequence[Object], secrets: Path, administrator_url: str) -> None:
    """`managed.roles` of the Cluster, each with the name and the password of its Secret, and a database per Database.

    Raises FileNotFoundError where a Secret is missing, and what asyncpg raises.
    """
    connection = await asyncpg.connect(administrator_url)
    try:
        for cluster in of_kind(objects, "Cluster"):
            for role in cluster["spec"]["managed"]["roles"]:
                secret = secrets / role["passwordSecret"]["name"]
                assert (secret / "username").read_text() == role["name"], f"Secret {secret.name} is another role's"
                password = await connection.fetchval("SELECT quote_literal($1)", (secret / "password").read_text())
                login = "LOGIN" if role.get("login") else "NOLOGIN"
                await connection.execute(f"CREATE ROLE {role['name']} {login} PASSWORD {password}")
        for database in of_kind(objects, "Database"):
            await connection.execute(f"CREATE DATABASE {database['spec']['name']} OWNER {database['spec']['owner']}")
    finally:
        await connection.close()
