"""Commands that prepare a marketplace: migrate, keygen, secrets."""

from pathlib import Path

import click

from admitone import config, config_values
from admitone.auth.tokens import make_key, public_key
from admitone.cli.common import load_settings, run, sentences_for_errors
from admitone.config import WrongSettings
from admitone.runtime.process import migrate_service
from admitone.runtime.provisioning import create_databases, passwords_of
from admitone.runtime.secrets_folder import make_secrets
from admitone.services import named


@click.command()
@click.option("--create", is_flag=True, help="First make the missing databases and roles; DATABASE_URL is the administrator's.")
@click.argument("names", nargs=-1)
def migrate(create: bool, names: tuple[str, ...]) -> None:
    """Bring the databases of these services (all of them without a name) up to date."""
    settings = load_settings()
    with sentences_for_errors():
        services = [service.name for service in named(names) if service.has_database]
        # Its tables it makes by itself, as soon as payments runs without a key.
        test_processor = [config.TEST_PROCESSOR] if "payments" in services and not settings.stripe_secret_key else []

        async def work() -> None:
            if create:
                if settings.database_url is None:
                    raise WrongSettings("--create needs DATABASE_URL, the administrator's.")
                databases = [*services, *test_processor]
                await create_databases(settings.database_url, databases, settings.required_marketplace, passwords_of(settings, databases))
            for name in services:
                applied = await migrate_service(settings, name)
                click.echo(f"{name}: {', '.join(applied) or 'up to date'}")

        run(work())


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make the key that signs sessions, and print its public half for ADMITONE_PUBLIC_KEYS."""
    with sentences_for_errors():
        try:
            make_key(file)
        except OSError as error:
            raise WrongSettings(f"{file} can't be written: {error.strerror}.") from error
        click.echo(public_key(file))


@click.command()
@click.option("--postgres", required=True, help="Where PostgreSQL is: postgresql://HOST:PORT?sslmode=require, without a user.")
@click.option("--nats", required=True, help="Where NATS is: nats://HOST:PORT, or several with commas in between, without a user.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def secrets(folder: Path, postgres: str, nats: str) -> None:
    """Make the passwords and keys of services that run apart: a folder per secret, a file per key. What is there stays."""
    with sentences_for_errors():
        for option, parse, text in (("--postgres", config_values.database_url, postgres), ("--nats", config_values.nats_urls, nats)):
            try:
                parse(text)
            except ValueError as error:
                raise WrongSettings(f"{option} {error}.") from None
            if "@" in text:
                raise WrongSettings(f"{option} must be without a user: each service gets its own.")
        try:
            names = make_secrets(folder, postgres, nats)
        except OSError as error:
            raise WrongSettings(f"{folder} can't be written: {error.strerror}.") from error
        click.echo("\n".join(names))
