"""The seam to a card processor: what payments asks of one, and how it may answer. Nothing here knows which one it is."""

from typing import Literal, Protocol, runtime_checkable
from uuid import UUID

from msgspec import Struct

from admitone.kit.http.problem import Problem
from admitone.payments.model import Charge

State = Literal["needs_confirmation", "authorized", "declined", "captured", "voided", "refunded"]


class ProcessorState(Struct, frozen=True, kw_only=True):
    """How a payment stands at the processor."""

    id: str
    """The processor's own id of it."""
    state: State
    amount_cents: int
    currency: str
    """In capital letters."""
    code: str | None = None
    """Why it was declined, in the processor's word."""
    redirect_url: str | None = None
    """Where the buyer confirms it, while it needs that; an address, or a path of our own."""
    refund_id: str | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """What a webhook is about. What it says besides is not used: we look for ourselves."""

    stripe_id: str
    charge_id: UUID | None
    """From the metadata that we sent along: the message may be here before the answer that had the id."""


class OutcomeUnknown(Exception):
    """No answer, or none that says what happened. Only the same call again can tell."""


class Refused(Exception):
    """The processor says no to this call, now and whenever it is made again."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class WrongSignature(Problem):
    """This message is not signed by our card processor, or was signed too long ago."""

    status = 400


@runtime_checkable
class CardProcessor(Protocol):
    """A card processor. Every call is idempotent by the charge's own key: again means the same answer and one effect.

    Each call returns how the payment stands after it, and may raise OutcomeUnknown. A declined card is no error, but a processor state.
    """

    async def token(self, text: str) -> str:
        """What is kept of what the buyer sent; nothing is tried yet. Raises UnknownCard for what must not be kept."""

    async def authorize(self, charge: Charge) -> ProcessorState:
        """Set the amount aside."""

    async def look(self, charge: Charge) -> ProcessorState:
        """Nothing but look. The charge has its `stripe_id`, as for all that follow."""

    async def capture(self, charge: Charge) -> ProcessorState:
        """Take the whole of what was set aside. Raises Refused when that can't be any more."""

    async def void(self, charge: Charge) -> ProcessorState:
        """Give back what was set aside, or end what still needs confirmation. Raises Refused when it was taken."""

    async def refund(self, charge: Charge) -> ProcessorState:
        """Give back the whole of what was taken. Raises Refused when that can't be."""

    def notice_of(self, body: bytes, signature: str) -> Notice | None:
        """The payment that a webhook is about, None when it is about something else. Raises WrongSignature."""
