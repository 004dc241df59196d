"""Commands about money: money, refund, settle, ledger."""

import sys

import click

from admitone.cli.common import checked_reason, load_settings, order_id_of, run, sentences_for_errors
from admitone.ops import payments
from admitone.ops.format import amount
from admitone.payments.model import Charge
from admitone.runtime.data_folder import settings_of_run


@click.command()
def money() -> None:
    """List every payment that is older than a minute and not settled; exit code 1 if there is any."""
    settings = load_settings()
    with sentences_for_errors():

        async def work() -> list[str]:
            return await payments.unsettled(settings_of_run(settings))

        lines = run(work())
        click.echo("\n".join(lines) or "Everything about money is settled.")
        sys.exit(1 if lines else 0)


@click.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="Kept with the charge.")
@click.option("--relist", is_flag=True, help="Put the ticket on sale again; otherwise it stays sold.")
def refund(order_id: str, reason: str, relist: bool) -> None:
    """Give the buyer of a complete order the money back. A second time gives nothing back."""
    settings = load_settings()
    with sentences_for_errors():
        wanted = order_id_of(order_id)

        async def work() -> Charge:
            return await payments.refund(settings_of_run(settings), wanted, checked_reason(reason), relist)

        charge = run(work())
        if charge.status == "refunded" and charge.stripe_refund_id is None:
            click.echo("The sale is undone. The payment was never collected, so there was nothing to give back.")
        elif charge.status == "refunded":
            click.echo(f"Refunded: {amount(charge.amount_cents, charge.currency)} ({charge.stripe_refund_id}).")
        else:
            why = charge.last_error or "payments is not running, or busy"
            click.echo(f"Recorded, but not made yet ({why}); it is made as soon as possible.")
        if charge.relist != relist:
            click.echo(f"It was asked for before: the ticket {'goes on sale again' if charge.relist else 'stays sold'}.")


@click.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="What was decided; kept with the charge.")
def settle(order_id: str, reason: str) -> None:
    """Say that an uncollected payment was settled in another way; the order stays complete."""
    settings = load_settings()
    with sentences_for_errors():
        wanted = order_id_of(order_id)

        async def work() -> Charge:
            return await payments.settle(settings_of_run(settings), wanted, checked_reason(reason))

        run(work())
        click.echo("Noted. `admitone money` does not list it any more.")


@click.command()
@click.option("--by-seller", is_flag=True, help="A line for each seller.")
def ledger(by_seller: bool) -> None:
    """Print what is held for us and to whom it belongs; exit code 1 if it does not add up."""
    settings = load_settings()
    with sentences_for_errors():

        async def work() -> tuple[list[str], bool]:
            return await payments.balances(settings_of_run(settings), by_seller)

        lines, adds_up = run(work())
        click.echo("\n".join(lines))
        sys.exit(0 if adds_up else 1)
