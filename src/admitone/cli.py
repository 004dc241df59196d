"""The command line: admitone up | serve NAMES | gateway | migrate | keygen | events | journey | money | refund | settle | ledger."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import click

from admitone import app, flow
from admitone import journey as story
from admitone import money as cash
from admitone.auth.tokens import make_key, public_key
from admitone.gateway import gateway as gateway_to
from admitone.kit import config, log
from admitone.kit.bus import BusClosed
from admitone.kit.config import Settings, WrongSettings
from admitone.kit.form import as_uuid
from admitone.kit.migrations import MigrationEdited, create_databases, migrate_at
from admitone.kit.problem import Problem
from admitone.local import EngineTrouble, only_run_in, settings_of_run, with_engines
from admitone.payments.model import Charge
from admitone.privileges import NoAccount

Result = TypeVar("Result")

EXPECTED = (WrongSettings, EngineTrouble, NoAccount, MigrationEdited, BusClosed, story.UnknownOrder, Problem)
"""What a person can mend: said in one sentence, without a trace."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A ticket-resale marketplace that never sells the same ticket twice."""


@main.command()
def up() -> None:
    """Run the whole marketplace in one process, with embedded engines where no others are named."""
    settings = _settings()
    log.configure()
    with _sentences():
        listening = _listen(settings)
        with only_run_in(settings.data):
            _run(_up(settings, listening))


async def _up(settings: Settings, listening: socket.socket) -> None:
    async with with_engines(settings, _say) as complete:
        assert complete.database_url is not None
        await create_databases(complete.database_url, config.DATABASES)
        async with app.running(app.SERVICES, complete) as dispatcher:
            await app.serve(dispatcher, listening, lambda: _welcome(complete))


@main.command()
@click.argument("names", nargs=-1)
def serve(names: tuple[str, ...]) -> None:
    """Run just these services (all of them without a name), against engines given by settings."""
    settings = _settings()
    log.configure()
    with _sentences():
        services = app.named(names)
        listening = _listen(settings)
        _run(_serve(services, settings, listening))


async def _serve(services: list[Any], settings: Settings, listening: socket.socket) -> None:
    async with app.running(services, settings) as dispatcher:
        names = ", ".join(service.name for service in services)
        await app.serve(dispatcher, listening, lambda: _say(f"{names}: listening at http://{settings.host}:{settings.port}"))


@main.command()
def gateway() -> None:
    """Hand requests on to services that run apart; ADMITONE_<SERVICE>_URL says where each is."""
    settings = _settings()
    log.configure()
    with _sentences():
        _run(_gateway(settings, _listen(settings)))


async def _gateway(settings: Settings, listening: socket.socket) -> None:
    async with gateway_to(settings) as dispatcher:
        await app.serve(dispatcher, listening, lambda: _say(f"gateway: listening at http://{settings.host}:{settings.port}"))


@main.command()
@click.option("--create", is_flag=True, help="First make the missing databases and roles; DATABASE_URL is the administrator's.")
@click.argument("names", nargs=-1)
def migrate(create: bool, names: tuple[str, ...]) -> None:
    """Bring the databases of these services (all of them without a name) up to date."""
    settings = _settings()
    with _sentences():
        services = [service.name for service in app.named(names) if service.has_database]
        # Its tables it makes by itself, as soon as payments runs without a key.
        test_processor = [config.TEST_PROCESSOR] if "payments" in services and not settings.stripe_secret_key else []

        async def work() -> None:
            if create:
                if settings.database_url is None:
                    raise WrongSettings("--create needs DATABASE_URL, the administrator's.")
                await create_databases(settings.database_url, [*services, *test_processor])
            for name in services:
                applied = await migrate_at(settings.database_url_of(name), name)
                click.echo(f"{name}: {', '.join(applied) or 'up to date'}")

        _run(work())


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make the key that signs sessions, and print its public half for ADMITONE_PUBLIC_KEYS."""
    with _sentences():
        try:
            make_key(file)
        except OSError as error:
            raise WrongSettings(f"{file} can't be written: {error.strerror}.") from error
        click.echo(public_key(file))


@main.command()
@click.option("--markdown", is_flag=True, help="Print docs/events.md instead.")
@click.option(
    "--services", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Bring the pages in docs/services up to date."
)
def events(markdown: bool, services: Path | None) -> None:
    """Print the map: who says which event, and who listens."""
    if services is not None:
        for service in app.SERVICES:
            page = services / f"{service.name}.md"
            page.write_text(flow.service_page(service, page.read_text()))
        return
    click.echo(flow.markdown() if markdown else "\n".join(flow.lines()), nl=not markdown)


@main.command()
@click.argument("order_id")
def journey(order_id: str) -> None:
    """Tell one order's story: what happened, where, when, caused by what, and what is still missing."""
    settings = _settings()
    with _sentences():
        wanted = _order(order_id)

        async def work() -> None:
            steps = await story.steps_of_order(settings_of_run(settings), wanted)
            click.echo("\n".join(story.tell(wanted, steps)))

        _run(work())


@main.command()
def money() -> None:
    """List every payment that is older than a minute and not settled; exit code 1 if there is any."""
    settings = _settings()
    with _sentences():

        async def work() -> list[str]:
            return await cash.unsettled(settings_of_run(settings))

        lines = _run(work())
        click.echo("\n".join(lines) or "Everything about money is settled.")
        sys.exit(1 if lines else 0)


@main.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="Kept with the charge.")
@click.option("--relist", is_flag=True, help="Put the ticket on sale again; otherwise it stays sold.")
def refund(order_id: str, reason: str, relist: bool) -> None:
    """Give the buyer of a complete order the money back. A second time gives nothing back."""
    settings = _settings()
    with _sentences():
        wanted = _order(order_id)

        async def work() -> Charge:
            return await cash.refund(settings_of_run(settings), wanted, _reason(reason), relist)

        charge = _run(work())
        if charge.status == "refunded" and charge.stripe_refund_id is None:
            click.echo("The sale is undone. The payment was never collected, so there was nothing to give back.")
        elif charge.status == "refunded":
            click.echo(f"Refunded: {charge.amount_cents / 100:.2f} {charge.currency} ({charge.stripe_refund_id}).")
        else:
            click.echo(
                f"Written down, but not made yet ({charge.trouble or 'payments is not running, or busy'}); it is made as soon as it can be."
            )
        if charge.relist != relist:
            click.echo(f"It was asked for before: the ticket {'goes on sale again' if charge.relist else 'stays sold'}.")


@main.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="What was decided; kept with the charge.")
def settle(order_id: str, reason: str) -> None:
    """Say that an uncollected payment was settled in another way; the order stays complete."""
    settings = _settings()
    with _sentences():
        wanted = _order(order_id)

        async def work() -> Charge:
            return await cash.settle(settings_of_run(settings), wanted, _reason(reason))

        _run(work())
        click.echo("Noted. `admitone money` does not list it any more.")


@main.command()
@click.option("--by-seller", is_flag=True, help="A line for each seller.")
def ledger(by_seller: bool) -> None:
    """Print what is held for us and to whom it belongs; exit code 1 if it does not add up."""
    settings = _settings()
    with _sentences():

        async def work() -> tuple[list[str], bool]:
            return await cash.balances(settings_of_run(settings), by_seller)

        lines, adds_up = _run(work())
        click.echo("\n".join(lines))
        sys.exit(0 if adds_up else 1)


def _order(text: str) -> UUID:
    order_id = as_uuid(text)
    if order_id is None:
        raise WrongSettings(f"{text!r} is no order id; an id looks like 7f0c1c9e-5a54-4c39-8d53-0c7b2c1d3e4f.")
    return order_id


def _reason(text: str) -> str:
    if not text.strip() or len(text) > 500:
        raise WrongSettings("--reason must have 1 to 500 characters.")
    return text.strip()


def _settings() -> Settings:
    with _sentences():
        return config.load(os.environ)


def _listen(settings: Settings) -> socket.socket:
    """The port is taken before anything else is started. Raises WrongSettings when somebody else has it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise WrongSettings(
            f"Port {settings.port} of {settings.host} can't be used ({os.strerror(error.errno or 0)}): "
            "stop what listens there, or set ADMITONE_PORT."
        ) from error


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        import uvloop  # noqa: PLC0415  (not everywhere to be had)

        run: Callable[..., Result] = uvloop.run
    except ImportError:
        run = asyncio.run
    return run(work)


@contextlib.contextmanager
def _sentences() -> Any:
    """What a person can mend ends the command with a sentence and exit code 1."""
    try:
        yield
    except* EXPECTED as group:
        _fail(" ".join(str(error) for error in _leaves(group)))
    except* (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as group:
        _fail(f"An engine can't be used: {'; '.join(str(error) or repr(error) for error in _leaves(group))}")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]


def _fail(sentence: str) -> None:
    click.echo(f"admitone: {sentence}", err=True)
    sys.exit(1)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _welcome(settings: Settings) -> None:
    _say(
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


if __name__ == "__main__":
    main()
