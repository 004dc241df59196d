"""Amounts, times and states as people say them."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

from markupsafe import Markup

from admitone.kit.http.amount import Price, money
from admitone.web.answers import Order, Ticket

TICKET_STATES = {"available": "For sale", "locked": "Being paid for", "sold": "Sold", "withdrawn": "Withdrawn"}

REASONS = {
    "by_buyer": "You gave this ticket back.",
    "expired": "The time to pay was over.",
    "price_changed": "The seller changed the ticket at the moment you bought it.",
    "withdrawn": "The seller withdrew the ticket at the moment you bought it.",
    "payment_failed": "The card was declined three times.",
}
REASONS_IN_A_WORD = {
    "by_buyer": "given back",
    "expired": "time was up",
    "price_changed": "ticket changed",
    "withdrawn": "withdrawn by the seller",
    "payment_failed": "card declined",
}
REFUSALS = {
    "taken": "somebody else was paying for the ticket at that moment",
    "sold": "the ticket was sold",
    "another_price": "the price had changed since the page was opened",
    "too_many_open": "the buyer had too many unpaid orders already",
    "withdrawn": "the seller had withdrawn the ticket",
}
"""Why a click on Buy was told no."""
GIVEN_BACK = {
    "refunded": "a sale was undone; its ticket stays sold",
    "relisted": "a sale was undone; its ticket was for sale again",
    "by_buyer": "approved by the bank when the buyer had given the ticket back",
    "expired": "approved by the bank when the time to pay was over",
    "price_changed": "approved by the bank when the seller had changed the ticket",
    "withdrawn": "approved by the bank when the seller had withdrawn the ticket",
    "payment_failed": "approved by the bank when the card had been declined three times",
}
TEST_CARDS = {
    "4242 4242 4242 4242": "pays",
    "4000 0000 0000 0002": "is declined",
    "4000 0000 0000 9995": "lacks the money",
    "4000 0000 0000 9987": "was lost",
    "4000 0000 0000 3220": "asks you to confirm",
    "4000 0000 0000 0119": "can’t be processed",
}
"""Of those published at https://docs.stripe.com/testing, which both processors of test mode know."""
SHARES = "The buyer pays {}, you get {}."
ADDRESS = re.compile(r"""(\bhttps?://[^\s<>"'`\x00-\x1f]+[^\s<>"'`\x00-\x1f.,;:!?)\]}…”’»])""", re.IGNORECASE)
"""Without the full stop that ends a sentence, or the bracket that closes around it."""
DECLINES = {
    "insufficient_funds": "There is not enough money on the card.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code is not the card’s.",
    "processing_error": "The bank could not process the card just now.",
    "authentication_failed": "It was not confirmed at the bank.",
    "payment_intent_authentication_failure": "It was not confirmed at the bank.",
}
"""What a buyer may be told; whether a card was lost or stolen is not for its finder: https://docs.stripe.com/declines/codes"""


def why_declined(code: str | None) -> str:
    """A sentence, or nothing where there is none for a buyer."""
    return DECLINES.get(code or "", "")


def moment(at: datetime, now: datetime) -> str:
    """When something happened: the time in UTC; the day, too, when that is another one."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at.day} {at:%B}, {at:%H:%M}"


def day_and_time(at: datetime) -> str:
    """The whole of it, in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y} at {at:%H:%M} UTC"


def time_left(seconds: float) -> str:
    """Never more than there is: 899 -> 14 minutes, 59.9 -> 59 seconds."""
    whole = max(0, int(seconds))
    return _counted(whole // 60, "minute") if whole >= 60 else _counted(whole, "second")


def at_most(seconds: float) -> str:
    """Never less than there is, in minutes: 61 -> 2 minutes."""
    return _counted(max(1, math.ceil(seconds / 60)), "minute")


def free_again_in(ticket: Ticket) -> str | None:
    """How long a locked ticket stays locked at most."""
    if ticket.locked_until is None:
        return None
    return at_most((ticket.locked_until - (ticket.server_time or datetime.now(ticket.locked_until.tzinfo))).total_seconds())


def fee_in_words(basis_points: int) -> str:
    if basis_points == 0:
        return "The buyer pays your price, and you get all of it: we take no fee."
    return f"The buyer pays your price. Our fee is {basis_points / 100:g}% of it; the rest is yours."


def sellers_share(price_cents: int, basis_points: int) -> int:
    """In cents, as the ledger books it: our fee is rounded to whole cents, a half upwards. static/share.js does the same."""
    return price_cents - (price_cents * basis_points + 5000) // 10_000


def sellers_share_of(ticket: Ticket, basis_points: int) -> str:
    return money(Decimal(sellers_share(int(ticket.price * 100), basis_points)) / 100, ticket.currency)


def shares(price: str, basis_points: int, currency: str) -> str:
    """Who pays and gets what at this price, as it was typed; nothing where it is none."""
    try:
        cents = Price.parse(price.strip())
    except ValueError:
        return ""
    return SHARES.format(*(money(Decimal(amount) / 100, currency) for amount in (cents, sellers_share(cents, basis_points))))


def with_links(text: str) -> Markup:
    """A stranger's text, escaped, with its web addresses as links that tell their site nothing of us."""
    return Markup("").join(_link(piece) if number % 2 else piece for number, piece in enumerate(re.split(ADDRESS, text)))


def _link(address: str) -> Markup | str:
    try:
        reachable = bool(urlsplit(address).hostname)
    except ValueError:
        reachable = False
    return Markup('<a href="{}" rel="noopener noreferrer nofollow">{}</a>').format(address, address) if reachable else address


def milliseconds(time: datetime) -> int:
    """Since 1970, as scripts count."""
    return int(time.timestamp() * 1000)


BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
"""In this order: most of them call themselves by the names of the later ones, too."""
SYSTEMS = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)


def browser(user_agent: str) -> str:
    """Mozilla/5.0 (iPhone; ...) ... Safari/604.1 -> Safari on an iPhone; what is no browser that we know, as it calls itself."""
    name = next((name for part, name in BROWSERS if part in user_agent), None)
    system = next((system for part, system in SYSTEMS if part in user_agent), None)
    return f"{name} on {system}" if name and system else name or user_agent or "A program without a name"


def order_state(order: Order) -> str:
    match order.status:
        case "awaiting:payment":
            return "To pay" if order.seconds_left else "Time is up"
        case "complete":
            return "Paid" if order.paid else "Yours, not charged" if order.uncollected else "Confirming"
        case "cancelled":
            reason = REASONS_IN_A_WORD.get(order.reason or "")
            return f"Cancelled: {reason}" if reason else "Cancelled"
        case "refunded":
            return "Refunded" if order.paid else "Undone"
        case _:
            return "Confirming"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
