"""admitone journey: the events of one order, ticket, request or user."""

import functools
import os
import shutil
import sys

import click

from admitone.cli.common import (
    complain,
    load_settings,
    run,
    sentences_for_errors,
    until_interrupted,
)
from admitone.ops import journey as journeys
from admitone.runtime.data_folder import settings_of_run


@click.command()
@click.argument("id")
@click.option("--follow", is_flag=True, help="Go on telling until it has ended, or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For a program; with --follow a line for each event.")
def journey(id: str, follow: bool, as_json: bool) -> None:
    """Where is my order stuck? The story of an order, a ticket or a request (times in UTC); of a user, what they listed and ordered.

    Who said what, who heard it when, what caused it, what is parked, what is still missing, and what comes next. ID is any of
    their ids, or its first eight digits, or a user's e-mail address. Exit code 1 if there is a database that could not be asked.
    """
    settings = load_settings()
    width = shutil.get_terminal_size().columns
    say = functools.partial(click.echo, color=False if os.environ.get("NO_COLOR") else None)

    async def work() -> bool:
        running = settings_of_run(settings)
        try:
            return await journeys.journey(running, id, say, complain, width=width, following=follow, as_json=as_json)
        except BrokenPipeError:  # Whoever read it has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True

    with sentences_for_errors():
        if run(until_interrupted(work())) is False:
            sys.exit(1)
