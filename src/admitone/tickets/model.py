"""What a ticket is, and what can be refused."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from admitone.kit.http.amount import Amount, Price, major
from admitone.kit.http.form import Moment
from admitone.kit.http.paging import Limit
from admitone.kit.http.problem import NotFound, Problem

Sort = Literal["newest", "cheapest"]
Status = Literal["available", "locked", "sold", "withdrawn"]
Note = Annotated[str, Meta(max_length=2000, description="must have at most 2000 characters", examples=["Your code at the door: 7431"])]

Title = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="must be text of 1 to 200 characters that are not all blank",
        examples=["Front row, Friday"],
    ),
]


class TicketForm(Struct):
    title: Title
    price: Price


class EditForm(TicketForm):
    version: Annotated[int, Meta(ge=1, le=2**31 - 1, description="must be a version that this ticket has had")] | None = None
    """The one that was read: when the ticket has changed since, the change is refused. Without it, the last change wins."""


class NewTicketForm(TicketForm):
    note: Note = ""
    """For the buyer alone: a link, a code, where to meet."""


class NoteForm(Struct):
    note: Note
    """An empty one removes what was there."""


class NoteView(Struct, frozen=True):
    """What the seller leaves for the buyer; empty where there is nothing."""

    note: str


class Search(Struct):
    """What a visitor looks for; nothing given means everything, newest first."""

    q: Annotated[str, Meta(title="search", max_length=200, description="must have at most 200 characters")] = ""
    sort: Annotated[Sort, Meta(title="order")] = "newest"
    min: Annotated[Amount, Meta(title="lowest price")] | None = None
    max: Annotated[Amount, Meta(title="highest price")] | None = None
    limit: Limit = 20
    cursor: str | None = None


class Ticket(Struct, frozen=True, kw_only=True):
    ticket_id: UUID
    version: int
    seller_id: UUID
    title: str
    price_cents: int
    currency: str
    order_id: UUID | None
    withdrawn: bool
    sold: bool
    lock: int
    """The fencing token of the newest order that was received for the ticket."""
    locked_until: datetime | None
    created_at: datetime
    relisted: int

    @property
    def status(self) -> Status:
        if self.sold:
            return "sold"
        if self.withdrawn:
            return "withdrawn"
        return "locked" if self.order_id else "available"


class TicketView(Struct, frozen=True, rename="camel"):
    """A ticket as everybody may see it."""

    id: UUID
    title: str
    price: float
    currency: str
    user_id: UUID
    order_id: UUID | None
    status: Status
    locked_until: Moment | None
    version: int

    @classmethod
    def of(cls, ticket: Ticket) -> "TicketView":
        return cls(
            ticket.ticket_id,
            ticket.title,
            major(ticket.price_cents),
            ticket.currency,
            ticket.seller_id,
            ticket.order_id,
            ticket.status,
            ticket.locked_until if ticket.status == "locked" else None,
            ticket.version,
        )


class TicketNotFound(NotFound):
    """There is no such ticket."""


class NoteNotFound(NotFound):
    """There is no note for you here. It is for the ticket's seller, and for its buyer once the order is complete."""


class TicketChanged(Problem):
    """The ticket has changed since you opened it. Look at it again, and change it then if you still want to."""

    status = 409
    field = "version"


class NotYourTicket(Problem):
    """Only its seller can change a ticket."""

    status = 403


class TicketLocked(Problem):
    """Somebody is paying for this ticket right now, so it can't be changed."""

    status = 409


class TicketSold(Problem):
    """This ticket is sold."""

    status = 409


class TicketWithdrawn(Problem):
    """This ticket was withdrawn."""

    status = 409
