"""Commands that run a process: up, serve, gateway."""

import socket
from typing import Any

import click

from admitone import config
from admitone.cli.common import listen, listen_internally, load_settings, run, say, sentences_for_errors
from admitone.config import Settings
from admitone.kit.observe.log import configure as configure_log
from admitone.runtime.data_folder import only_run_in
from admitone.runtime.engines import with_engines
from admitone.runtime.gateway import gateway as running_gateway
from admitone.runtime.process import running
from admitone.runtime.provisioning import create_databases, passwords_of
from admitone.runtime.server import serve as serve_app
from admitone.runtime.server import serving_beside
from admitone.services import SERVICES, named


@click.command()
def up() -> None:
    """Run the whole marketplace in one process, with embedded engines where no others are named."""
    settings = load_settings()
    configure_log()
    with sentences_for_errors():
        listening, internal = listen(settings), listen_internally(settings)
        with only_run_in(settings.data):
            run(_up(settings, listening, internal))


async def _up(settings: Settings, listening: socket.socket, internal: socket.socket | None) -> None:
    async with with_engines(settings, say) as complete:
        assert complete.database_url is not None
        passwords = passwords_of(complete, config.DATABASES)
        await create_databases(complete.database_url, config.DATABASES, complete.marketplace, passwords)
        async with (
            running(SERVICES, complete) as dispatcher,
            serving_beside(dispatcher.internal, internal),
        ):
            await serve_app(dispatcher, listening, lambda: _welcome(complete), settings.drain_seconds)


@click.command()
@click.argument("names", nargs=-1)
def serve(names: tuple[str, ...]) -> None:
    """Run just these services (all of them without a name), against engines given by settings."""
    settings = load_settings()
    configure_log()
    with sentences_for_errors():
        services = named(names)
        run(_serve(services, settings, listen(settings), listen_internally(settings)))


async def _serve(services: list[Any], settings: Settings, listening: socket.socket, internal: socket.socket | None) -> None:
    async with (
        running(services, settings) as dispatcher,
        serving_beside(dispatcher.internal, internal),
    ):
        names = ", ".join(service.name for service in services)
        await serve_app(
            dispatcher, listening, lambda: say(f"{names}: listening at http://{settings.host}:{settings.port}"), settings.drain_seconds
        )


@click.command()
def gateway() -> None:
    """Hand requests on to services that run apart; ADMITONE_<SERVICE>_URL says where each is."""
    settings = load_settings()
    configure_log()
    with sentences_for_errors():
        run(_gateway(settings, listen(settings)))


async def _gateway(settings: Settings, listening: socket.socket) -> None:
    async with running_gateway(settings) as dispatcher:
        await serve_app(
            dispatcher, listening, lambda: say(f"gateway: listening at http://{settings.host}:{settings.port}"), settings.drain_seconds
        )


def _welcome(settings: Settings) -> None:
    say(
        f"""
  Admit One is open at {settings.public_url}

  Payments   {_payments(settings)}
  Data       {settings.data.resolve()}
  Stop       Ctrl-C
"""
    )


def _payments(settings: Settings) -> str:
    if settings.stripe_secret_key is None:
        return """test mode, no real payments: token tok_visa, or card 4242 4242 4242 4242
             (tok_chargeDeclined, or 4000 0000 0000 0002, is declined)"""
    if "_live_" in settings.stripe_secret_key:
        return "Stripe: cards are really charged"
    return "Stripe's test mode, no real payments"
