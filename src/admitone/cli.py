"""The command line: admitone up | serve | gateway | migrate | keygen | events | journey | parked | doctor | money | refund | settle
| ledger | verify | demo.
"""

import asyncio
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import click

from admitone import app, desk, flow
from admitone import demo as scene
from admitone import journey as story
from admitone import money as cash
from admitone import verify as proving
from admitone.auth.tokens import make_key, public_key
from admitone.ops.demo.people import NoDemo
from admitone.apidocs import asyncapi
from admitone.apidocs.overview import overview
from admitone.ops.doctor import examine, telling
from admitone.runtime.gateway import gateway as gateway_to
from admitone.kit import config, log
from admitone.kit.delivery.bus import BusClosed
from admitone.config import Settings, WrongSettings
from admitone.kit.http.form import as_uuid
from admitone.kit.data.migrations import MigrationEdited, create_databases, migrate_at
from admitone.kit.http.problem import Problem
from admitone.runtime.engines import EngineTrouble, only_run_in, settings_of_run, with_engines
from admitone.payments.model import Charge
from admitone.runtime.privileges import NoAccount
from admitone.ops.tail import BusUnreachable, WrongPattern, heard, pattern_of

Result = TypeVar("Result")

EXPECTED = (WrongSettings, EngineTrouble, NoAccount, MigrationEdited, BusClosed, BusUnreachable, WrongPattern,
            story.NotToBeFound, desk.UnknownLetter, Problem, NoDemo)  # fmt: skip
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
@click.option("--asyncapi", "as_asyncapi", is_flag=True, help="Print the map as an AsyncAPI 3.0 document instead.")
@click.option("--follow", is_flag=True, help="Print what happens instead, as it happens (times in UTC); Ctrl-C ends it.")
@click.option("--service", help="With --follow: only what this service says.")
@click.option("--subject", help="With --follow: only such subjects, as in events.*.OrderCreated or events.payments.>")
@click.option("--id", "id_begins", help="With --follow: only what has this id in it, or one that begins like this.")
@click.option("--from-beginning", is_flag=True, help="With --follow: first all that has happened.")
@click.option("--json", "as_json", is_flag=True, help="With --follow: a message a line, as JSON.")
def events(
    as_asyncapi: bool, follow: bool, service: str | None, subject: str | None, id_begins: str | None, from_beginning: bool, as_json: bool
) -> None:
    """Print the map: who says which event, and who listens. With --follow: the stream, as it happens."""
    if not follow:
        if service or subject or id_begins or from_beginning or as_json:
            _fail("--service, --subject, --id, --from-beginning and --json need --follow.")
        click.echo(asyncapi.text(overview(app.SERVICES)).rstrip() if as_asyncapi else "\n".join(flow.lines()))
        return
    if as_asyncapi:
        _fail("--asyncapi prints the map, and --follow what happens: say one of them.")
    settings = _settings()
    with _sentences():
        app.named([service] if service else [])
        pattern = pattern_of(subject, service)
        wanted = desk.beginning_of_id(id_begins) if id_begins else ""
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

        async def work() -> None:
            url = settings.nats_url or settings_of_run(settings).nats_url
            if url is None:
                raise WrongSettings("there is no event bus to follow: set NATS_URL.")
            async with contextlib.aclosing(heard(url, pattern, from_beginning, _say)) as messages:
                async for message in messages:
                    if (service and message.owner != service) or (wanted and not message.speaks_of(wanted)):
                        continue
                    if not _print(message.json() if as_json else message.line(coloured), coloured):
                        return

        _run(_until_interrupted(work()))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default="docs")
def docs(folder: Path) -> None:
    """Write the documents that are made from the code anew, in the folder docs."""
    for path, text in flow.documents(folder).items():
        path.write_text(text)


@main.group(invoke_without_command=True)
@click.option("--dropped", is_flag=True, help="List what was dropped instead, with the reasons.")
@click.pass_context
def parked(context: click.Context, dropped: bool) -> None:
    """List what the services could not handle (times in UTC); `show`, `replay` or `drop` it."""

    async def work(opened: desk.Desk) -> bool:
        lines = desk.rows(await desk.letters(opened, dropped=dropped))
        if lines or not opened.troubles:
            _print("\n".join(lines) or ("Nothing was dropped." if dropped else "Nothing is parked."))
        return True

    if context.invoked_subcommand is None:
        _at_desk(work)


@parked.command()
@click.argument("event_id")
def show(event_id: str) -> None:
    """Show one whole; the beginning of its id will do."""

    async def work(opened: desk.Desk) -> bool:
        for letter in await desk.of_event(opened, desk.beginning_of_id(event_id), or_dropped=True):
            _print("\n".join([*await desk.whole(opened, letter), ""]))
        return True

    _at_desk(work)


@parked.command()
@click.argument("event_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything that is parked.")
@click.option("--service", help="Only what this service has parked.")
def replay(event_id: str | None, everything: bool, service: str | None) -> None:
    """Handle one again, or all; what it says leaves as soon as its service runs. Exit code 1 if any stays parked."""

    async def work(opened: desk.Desk) -> bool:
        if (event_id is None) != everything:
            raise WrongSettings("Say which: an event's id, or --all.")
        found = await (desk.letters(opened) if event_id is None else desk.of_event(opened, desk.beginning_of_id(event_id)))
        all_gone = True
        for letter in found:
            gone, what = await desk.replay(opened.databases[letter.service], letter)
            _print(f"{desk.named(letter)} {what}.")
            all_gone &= gone
        if not found and not opened.troubles:
            _print("Nothing is parked.")
        return all_gone

    _at_desk(work, service)


@parked.command()
@click.argument("event_id")
@click.option("--reason", required=True, help="Kept with what is dropped.")
@click.option("--service", help="Only what this service has parked.")
def drop(event_id: str, reason: str, service: str | None) -> None:
    """Decide that one is never handled. It is kept, with the reason."""

    async def work(opened: desk.Desk) -> bool:
        why = _reason(reason)
        for letter in await desk.of_event(opened, desk.beginning_of_id(event_id)):
            dropped = await desk.drop(opened.databases[letter.service], letter, why)
            _print(f"{desk.named(letter)} {'is dropped' if dropped else 'is not parked any more'}.")
        return True

    _at_desk(work, service)


def _at_desk(work: Callable[[desk.Desk], Awaitable[bool]], service: str | None = None) -> None:
    """Exit code 1 if it says so, or if there is a database that could not be looked into."""
    settings = _settings()

    async def there() -> bool:
        async with desk.at_desk(settings_of_run(settings), service) as opened:
            try:
                return await work(opened) and not opened.troubles
            finally:
                if opened.troubles:
                    _say(f"admitone: {desk.trouble_of(opened)}")

    with _sentences():
        if not _run(there()):
            sys.exit(1)


@main.command()
@click.argument("id")
@click.option("--follow", is_flag=True, help="Go on telling until it has ended, or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For a program; with --follow a line for each event.")
def journey(id: str, follow: bool, as_json: bool) -> None:
    """Where is my order stuck? The story of an order, a ticket or a request (times in UTC); of a user, what they listed and ordered.

    Who said what, who heard it when, what caused it, what is parked, what is still missing, and what comes next. ID is any of
    their ids, or its first eight digits, or a user's e-mail address. Exit code 1 if there is a database that could not be asked.
    """
    settings = _settings()
    width = shutil.get_terminal_size().columns
    say = functools.partial(click.echo, color=False if os.environ.get("NO_COLOR") else None)

    async def work() -> bool:
        running = settings_of_run(settings)
        try:
            return await story.journey(running, id, say, _complain, width=width, following=follow, as_json=as_json)
        except BrokenPipeError:  # Whoever read it has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True

    with _sentences():
        if _run(_until_interrupted(work())) is False:
            sys.exit(1)


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


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For a program: every line with its figure.")
def doctor(as_json: bool) -> None:
    """Look at the running system: a line for each check, and what to do about it; exit code 1 if anything is bad."""
    settings = _settings()
    with _sentences():
        lines = _run(examine(settings))
        click.echo(telling.as_json(lines) if as_json else "\n".join(telling.tell(lines)))
        sys.exit(1 if telling.worst(lines) == "bad" else 0)


@main.command()
@click.option(
    "--wait", is_flag=False, flag_value=60, default=0, type=click.FloatRange(0), metavar="[SECONDS]", help="Wait until all is at rest (60)."
)
@click.option("--publish", "published", is_flag=True, help="Show what was found to everybody, at /proof.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def verify(wait: float, published: bool, as_json: bool) -> None:
    """Does everything hold that must always hold? Checks the databases, the log and the processor's books, row by row.

    Of a system that runs, or of one that is stopped. Exit code 1 if anything is broken, 2 if it is not at rest.
    """
    settings = _settings()
    command = "admitone verify" + (" --wait" if wait else "") + " --publish" if published else None
    with _sentences():
        with proving.progress(sys.stderr) as note:
            report = _run(proving.verify(settings, wait_seconds=wait, published_as=command, say=_say, note=note))
        _print(proving.as_json(report) if as_json else "\n".join(proving.tell(report)))
        if published:
            _say("Not published: it is not at rest." if report.exit_code == 2 else "Published: see /proof.")
        sys.exit(report.exit_code)


@main.command()
@click.option("--url", envvar="ADMITONE_PUBLIC_URL", help="Where the marketplace is, if not the one that runs in the data folder.")
@click.option("--tickets", type=click.IntRange(1, 20_000), default=500, show_default=True, help="How many are to be there.")
@click.option("--live", is_flag=True, help="Then go on buying, cancelling, changing and listing, until Ctrl-C.")
def demo(url: str | None, tickets: int, live: bool) -> None:
    """Fill a running marketplace with tickets and a few users to sign in as. A second time it adds only what is missing."""
    settings = _settings()
    log.configure()
    with _sentences():
        if url is None:
            settings = settings_of_run(settings)
        elif re.match(r"https?://[^/]", url):
            settings = config.load({**os.environ, "ADMITONE_SERVICES_URL": url})
        else:
            raise WrongSettings("--url must be an address such as http://localhost:8000.")
        _run(_until_interrupted(scene.show(settings, tickets, live, _print)))


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


async def _until_interrupted(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Ctrl-C ends it quietly."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return None


@contextlib.contextmanager
def _sentences() -> Any:
    """What a person can mend ends the command with a sentence and exit code 1."""
    try:
        yield
    except* EXPECTED as group:
        _fail(" ".join(str(error) for error in _leaves(group)))
    except* (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as group:
        _fail(f"An engine can't be used: {'; '.join(str(error) or repr(error) for error in _leaves(group))}")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [leaf for error in group.exceptions for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])]


def _fail(sentence: str) -> None:
    _complain(sentence)
    sys.exit(1)


def _complain(sentence: str) -> None:
    click.echo(f"admitone: {sentence}", err=True)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(text: str, coloured: bool | None = None) -> bool:
    """False when whoever reads it, `head` for instance, has seen enough; nothing is printed from then on."""
    try:
        click.echo(text, color=coloured)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


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
