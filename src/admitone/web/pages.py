"""Every page, and what all of them have in common."""

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from admitone.kit.http.app import SAFE_METHODS
from admitone.kit.http.problem import ForeignOrigin
from admitone.web import account, browsing, buying, proof, selling, streams
from admitone.web.static import static_file

OUR_OWN = ("same-origin", "none")
"""What Sec-Fetch-Site may say of a form."""


async def not_from_another_site(connection: ASGIConnection, _handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
    """A browser says where a form was; the kit checks the Origin, this the header that comes even where Origin does not.

    Another host of the same site is another site for us. `none` is what the user did by themselves; no header at all comes from
    something that is no browser, or an old one: those send our cookie, which is SameSite=Lax, with no form of another site.
    """
    if connection.scope.get("method") not in SAFE_METHODS and connection.headers.get("sec-fetch-site", "none") not in OUR_OWN:
        raise ForeignOrigin


ROUTES = (*browsing.ROUTES, *buying.ROUTES, *selling.ROUTES, *account.ROUTES, *streams.ROUTES, *proof.ROUTES, static_file)
