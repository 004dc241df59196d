"""Server-rendered pages. Knows the other services by their HTTP API alone.

owns: nothing
publishes: nothing
listens to: nothing yet
"""

from admitone.kit.service import Service
from admitone.web.api import client_of
from admitone.web.pages import ROUTES
from admitone.web.render import error_page

service = Service(
    name="web",
    prefix="/",
    routes=ROUTES,
    provides={"client": client_of},
    has_database=False,
    exception_handlers={Exception: error_page},
)
