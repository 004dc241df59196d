"""The command line: one file per group of commands."""

import click

from admitone.cli.checks import demo, doctor, verify
from admitone.cli.dead_letters import parked
from admitone.cli.events import docs, events
from admitone.cli.journey import journey
from admitone.cli.money import ledger, money, refund, settle
from admitone.cli.processes import gateway, serve, up
from admitone.cli.setup import keygen, migrate, secrets


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A ticket-resale marketplace that never sells the same ticket twice."""


for command in (
    up,
    serve,
    gateway,
    migrate,
    keygen,
    secrets,
    events,
    docs,
    journey,
    parked,
    doctor,
    verify,
    demo,
    money,
    refund,
    settle,
    ledger,
):
    main.add_command(command)
