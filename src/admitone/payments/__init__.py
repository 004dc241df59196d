"""Money: one charge per attempt to pay. Nothing is taken unless the order is complete.

owns: charges, the ledger, and a copy of each order
publishes: PaymentAuthorized, PaymentFailed, PaymentCreated, PaymentUncollected, PaymentRefunded
listens to: OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded
"""

from admitone.kit.service import Service
from admitone.payments.gauges import GAUGES
from admitone.payments.handlers import handlers
from admitone.payments.jobs import reconcile_charges
from admitone.payments.processors.choose import card_processor
from admitone.payments.routes import ROUTES

service = Service(
    name="payments",
    prefix="/api/payments",
    routes=ROUTES,
    handlers=handlers,
    jobs=(reconcile_charges,),
    gauges=GAUGES,
    provides={"processor": card_processor},
)
