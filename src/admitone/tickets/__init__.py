"""What is for sale, at which price, and whether a ticket may be changed.

owns: tickets, and what sellers leave for their buyers
publishes: TicketCreated, TicketUpdated, ReservationRefused
listens to: OrderCreated, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded
"""

from admitone.kit.data.shared import SharedReads
from admitone.kit.service import Service
from admitone.tickets.handlers import handlers
from admitone.tickets.routes import ROUTES

service = Service(
    name="tickets",
    prefix="/api/tickets",
    routes=ROUTES,
    handlers=handlers,
    provides={"lists": lambda _settings, _db: SharedReads()},
)
