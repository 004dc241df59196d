"""admitone parked: list, show, replay and drop dead letters."""

import sys
from collections.abc import Awaitable, Callable

import click

from admitone.cli.common import checked_reason, load_settings, print_out, run, say, sentences_for_errors
from admitone.config import WrongSettings
from admitone.ops import dead_letters
from admitone.ops.reach import Databases
from admitone.runtime.data_folder import settings_of_run


@click.group(invoke_without_command=True)
@click.option("--dropped", is_flag=True, help="List what was dropped instead, with the reasons.")
@click.pass_context
def parked(context: click.Context, dropped: bool) -> None:
    """List what the services could not handle (times in UTC); `show`, `replay` or `drop` it."""

    async def work(databases: Databases) -> bool:
        lines = dead_letters.format_rows(await dead_letters.find(databases, dropped=dropped))
        if lines or not databases.unreachable:
            print_out("\n".join(lines) or ("Nothing was dropped." if dropped else "Nothing is parked."))
        return True

    if context.invoked_subcommand is None:
        _with_databases(work)


@parked.command()
@click.argument("event_id")
def show(event_id: str) -> None:
    """Show one whole; the beginning of its id will do."""

    async def work(databases: Databases) -> bool:
        for letter in await dead_letters.of_event(databases, dead_letters.beginning_of_id(event_id), or_dropped=True):
            print_out("\n".join([*await dead_letters.format_whole(databases, letter), ""]))
        return True

    _with_databases(work)


@parked.command()
@click.argument("event_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything that is parked.")
@click.option("--service", help="Only what this service has parked.")
def replay(event_id: str | None, everything: bool, service: str | None) -> None:
    """Handle one again, or all; what it says leaves as soon as its service runs. Exit code 1 if any stays parked."""

    async def work(databases: Databases) -> bool:
        if (event_id is None) != everything:
            raise WrongSettings("Say which: an event's id, or --all.")
        found = await (
            dead_letters.find(databases) if event_id is None else dead_letters.of_event(databases, dead_letters.beginning_of_id(event_id))
        )
        all_gone = True
        for letter in found:
            gone, what = await dead_letters.replay(await databases.writable(letter.service), letter)
            print_out(f"{dead_letters.title(letter)} {what}.")
            all_gone &= gone
        if not found and not databases.unreachable:
            print_out("Nothing is parked.")
        return all_gone

    _with_databases(work, service)


@parked.command()
@click.argument("event_id")
@click.option("--reason", required=True, help="Kept with what is dropped.")
@click.option("--service", help="Only what this service has parked.")
def drop(event_id: str, reason: str, service: str | None) -> None:
    """Decide that one is never handled. It is kept, with the reason."""

    async def work(databases: Databases) -> bool:
        why = checked_reason(reason)
        for letter in await dead_letters.of_event(databases, dead_letters.beginning_of_id(event_id)):
            dropped = await dead_letters.drop(await databases.writable(letter.service), letter, why)
            print_out(f"{dead_letters.title(letter)} {'is dropped' if dropped else 'is not parked any more'}.")
        return True

    _with_databases(work, service)


def _with_databases(work: Callable[[Databases], Awaitable[bool]], service: str | None = None) -> None:
    """Exit code 1 if it says so, or if there is a database that could not be looked into."""
    settings = load_settings()

    async def there() -> bool:
        async with dead_letters.open_dead_letters(settings_of_run(settings), service) as databases:
            try:
                return await work(databases) and not databases.unreachable
            finally:
                if databases.unreachable:
                    say(f"admitone: {databases.unreachable_sentence()}")

    with sentences_for_errors():
        if not run(there()):
            sys.exit(1)
