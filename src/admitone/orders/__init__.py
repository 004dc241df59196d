"""Who is buying what, and until when. Owns the lock: of all who want a ticket, exactly one has it.

owns: orders, a copy of each ticket, how often buyers were told no, and the published proofs
publishes: OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded
listens to: TicketCreated, TicketUpdated, ReservationRefused, ExpirationComplete, PaymentAuthorized, PaymentFailed, PaymentCreated,
    PaymentUncollected, PaymentRefunded
"""

from admitone.kit.service import Service
from admitone.orders.buying import order_batcher
from admitone.orders.gauges import GAUGES
from admitone.orders.handlers import handlers
from admitone.orders.jobs import store_refusals, sweep_overdue_orders
from admitone.orders.refusals import RefusalCounter
from admitone.orders.routes import ROUTES

service = Service(
    name="orders",
    prefix="/api/orders",
    routes=ROUTES,
    handlers=handlers,
    jobs=(sweep_overdue_orders, store_refusals),
    gauges=GAUGES,
    provides={"refusals": lambda _settings, _db: RefusalCounter(), "orders": order_batcher},
)
