"""Commands that check or fill a marketplace: doctor, verify, demo."""

import os
import re
import sys

import click

from admitone import config
from admitone.cli.common import (
    load_settings,
    print_out,
    run,
    say,
    sentences_for_errors,
    until_interrupted,
)
from admitone.config import WrongSettings
from admitone.kit.observe.log import configure as configure_log
from admitone.ops import demo as demos
from admitone.ops import verify as verification
from admitone.ops.doctor import examine, render
from admitone.runtime.data_folder import settings_of_run


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For a program: every line with its figure.")
def doctor(as_json: bool) -> None:
    """Look at the running system: a line for each check, and what to do about it; exit code 1 if anything is bad."""
    settings = load_settings()
    with sentences_for_errors():
        lines = run(examine(settings))
        click.echo(render.as_json(lines) if as_json else "\n".join(render.format_lines(lines)))
        sys.exit(1 if render.worst(lines) == "bad" else 0)


@click.command()
@click.option(
    "--wait", is_flag=False, flag_value=60, default=0, type=click.FloatRange(0), metavar="[SECONDS]", help="Wait until all is at rest (60)."
)
@click.option("--publish", "published", is_flag=True, help="Show what was found to everybody, at /proof.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def verify(wait: float, published: bool, as_json: bool) -> None:
    """Does everything hold that must always hold? Checks the databases, the log and the processor's books, row by row.

    Of a system that runs, or of one that is stopped. Exit code 1 if anything is broken, 2 if it is not at rest.
    """
    settings = load_settings()
    command = "admitone verify" + (" --wait" if wait else "") + " --publish" if published else None
    with sentences_for_errors():
        with verification.progress(sys.stderr) as note:
            report = run(verification.verify(settings, wait_seconds=wait, published_as=command, say=say, note=note))
        print_out(verification.as_json(report) if as_json else "\n".join(verification.format_report(report)))
        if published:
            say("Not published: it is not at rest." if report.exit_code == 2 else "Published: see /proof.")
        sys.exit(report.exit_code)


@click.command()
@click.option("--url", envvar="ADMITONE_PUBLIC_URL", help="Where the marketplace is, if not the one that runs in the data folder.")
@click.option("--tickets", type=click.IntRange(1, 20_000), default=500, show_default=True, help="How many are to be there.")
@click.option("--live", is_flag=True, help="Then go on buying, cancelling, changing and listing, until Ctrl-C.")
def demo(url: str | None, tickets: int, live: bool) -> None:
    """Fill a running marketplace with tickets and a few users to sign in as. A second time it adds only what is missing."""
    settings = load_settings()
    configure_log()
    with sentences_for_errors():
        if url is None:
            settings = settings_of_run(settings)
        elif re.match(r"https?://[^/]", url):
            settings = config.load({**os.environ, "ADMITONE_SERVICES_URL": url})
        else:
            raise WrongSettings("--url must be an address such as http://localhost:8000.")
        run(until_interrupted(demos.show(settings, tickets, live, print_out)))
