"""What the last published check has found, in a visitor's words. The page checks nothing itself."""

from litestar import Response, get

from admitone.kit.http.binding import AnyRequest
from admitone.web.api import Api, Refused
from admitone.web.render import page
from admitone.web.visitor import Visitor


@get("/proof")
async def show_proof(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    try:
        proof = await api.proof()
    except Refused as refused:
        if refused.status != 404:
            raise
        proof = None
    return page(request, "proof.html", proof=proof)


ROUTES = (show_proof,)
