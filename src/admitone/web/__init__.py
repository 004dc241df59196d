"""Server-rendered pages. Knows the other services by their HTTP API alone.

owns: nothing
publishes: nothing
listens to: TicketCreated, TicketUpdated, OrderCreated, OrderReserved, OrderExtended, OrderCancelled, OrderCompleted, OrderRefunded,
    PaymentFailed, PaymentCreated, PaymentUncollected
    (every process for itself, to tell open pages; it writes nothing down)
"""

from admitone.kit.data.shared import SharedReads
from admitone.kit.service import Service
from admitone.web.api import client_of
from admitone.web.changes import LiveChanges, listen
from admitone.web.pages import ROUTES, not_from_another_site
from admitone.web.render import error_page
from admitone.web.visitor import FINDERS

service = Service(
    name="web",
    prefix="/",
    routes=ROUTES,
    provides={"client": client_of, "live": lambda _settings, _db: LiveChanges(), "shared": lambda _settings, _db: SharedReads()},
    finders=FINDERS,
    guards=(not_from_another_site,),
    jobs=(listen,),
    has_database=False,
    exception_handlers={Exception: error_page},
)
