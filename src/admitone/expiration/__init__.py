"""The clock: says when an order's time is over, and decides nothing.

owns: timers
publishes: ExpirationComplete
listens to: OrderCreated, OrderExtended, OrderCancelled, OrderCompleted
"""

from admitone.expiration.gauges import GAUGES
from admitone.expiration.handlers import handlers
from admitone.expiration.jobs import ring_timers
from admitone.kit.service import Service

service = Service(name="expiration", handlers=handlers, jobs=(ring_timers,), gauges=GAUGES)
