"""Commands about events: the map of events, the stream as it happens, the documents made from the code."""

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

import click

from admitone.apidocs import asyncapi, markdown
from admitone.apidocs.overview import overview
from admitone.cli.common import fail, load_settings, print_out, run, say, sentences_for_errors, until_interrupted
from admitone.config import WrongSettings
from admitone.ops import dead_letters, emit
from admitone.ops.tail import follow_stream, pattern_of
from admitone.runtime.data_folder import settings_of_run, takes_cards
from admitone.services import SERVICES, named


@click.command()
@click.option("--asyncapi", "as_asyncapi", is_flag=True, help="Print the map as an AsyncAPI 3.0 document instead.")
@click.option("--follow", is_flag=True, help="Print what happens instead, as it happens (times in UTC); Ctrl-C ends it.")
@click.option("--service", help="With --follow: only what this service says.")
@click.option("--subject", help="With --follow: only such subjects, as in events.*.OrderCreated or events.payments.>")
@click.option("--id", "id_begins", help="With --follow: only what has this id in it, or one that begins like this.")
@click.option("--from-beginning", is_flag=True, help="With --follow: first all that has happened.")
@click.option("--json", "as_json", is_flag=True, help="With --follow: a message a line, as JSON.")
@click.option(
    "--emit", "emitted", type=click.File("rb"), help="In test mode: put the message in this file (- for the input) on the stream."
)
def events(
    as_asyncapi: bool,
    follow: bool,
    service: str | None,
    subject: str | None,
    id_begins: str | None,
    from_beginning: bool,
    as_json: bool,
    emitted: IO[bytes] | None,
) -> None:
    """Print the map: who says which event, and who listens. With --follow: the stream, as it happens."""
    if emitted is not None:
        if follow or as_asyncapi:
            fail("--emit puts a message on the stream, --follow and --asyncapi print: say one of them.")
        _emit(emitted.read())
        return
    if not follow:
        if service or subject or id_begins or from_beginning or as_json:
            fail("--service, --subject, --id, --from-beginning and --json need --follow.")
        click.echo(asyncapi.text(overview(SERVICES)).rstrip() if as_asyncapi else "\n".join(markdown.lines()))
        return
    if as_asyncapi:
        fail("--asyncapi prints the map, and --follow what happens: say one of them.")
    settings = load_settings()
    with sentences_for_errors():
        named([service] if service else [])
        pattern = pattern_of(subject, service)
        wanted = dead_letters.beginning_of_id(id_begins) if id_begins else ""
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

        async def work() -> None:
            url = settings.nats_url or settings_of_run(settings).nats_url
            if url is None:
                raise WrongSettings("there is no event bus to follow: set NATS_URL.")
            async with contextlib.aclosing(follow_stream(url, pattern, from_beginning, say)) as messages:
                async for message in messages:
                    if (service and message.owner != service) or (wanted and not message.mentions(wanted)):
                        continue
                    if not print_out(message.json() if as_json else message.line(coloured), coloured):
                        return

        run(until_interrupted(work()))


def _emit(text: bytes) -> None:
    settings = load_settings()
    with sentences_for_errors():
        message = emit.message_of(text)
        running = settings_of_run(settings) if settings.nats_url is None else settings
        if settings.stripe_secret_key is not None or (running is not settings and takes_cards(settings.data)):
            raise WrongSettings("--emit is for test mode: with STRIPE_SECRET_KEY, a message of one's own could give a ticket away.")
        if running.nats_url is None:
            raise WrongSettings("there is no event bus: set NATS_URL.")
        number = run(emit.emit(running.nats_url, message))
        click.echo(f"{message.event} {message.event_id} is message {number} of the stream (correlation {message.correlation_id}).")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default="docs")
def docs(folder: Path) -> None:
    """Write the documents that are made from the code anew, in the folder docs."""
    for path, text in markdown.documents(folder).items():
        path.write_text(text)
