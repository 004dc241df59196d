"""Sign up, in and out. The session's cookie is auth's own, handed on as it is."""

from collections.abc import Awaitable, Callable

from litestar import Response, get, post

from admitone.kit.http.binding import AnyRequest
from admitone.web.api import Api, Refused
from admitone.web.form import errors_by_field, read_form, safe_next
from admitone.web.render import page, see_other
from admitone.web.visitor import Visitor

FIELDS = ("email", "password")
REFUSALS = (400, 409, 429)


@get("/signup")
async def show_sign_up_form(request: AnyRequest, visitor: Visitor) -> Response[str]:
    return _form(request, visitor, "signup.html")


@post("/signup")
async def sign_up(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    return await _enter(request, "signup.html", api.sign_up)


@get("/signin")
async def show_sign_in_form(request: AnyRequest, visitor: Visitor) -> Response[str]:
    return _form(request, visitor, "signin.html")


@post("/signin")
async def sign_in(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    return await _enter(request, "signin.html", api.sign_in)


@post("/signout")
async def sign_out(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    return see_other(request, "/", await api.sign_out())


def _form(request: AnyRequest, visitor: Visitor, template: str) -> Response[str]:
    back = safe_next(request.query_params.get("next", "/"))
    if visitor.user is not None:
        return see_other(request, back)
    return page(request, template, email="", errors={}, next=back)


async def _enter(request: AnyRequest, template: str, enter: Callable[[str, str], Awaitable[str]]) -> Response[str]:
    """Redirect with the new session to where the visitor was, or show the form again, without the password."""
    fields = await read_form(request)
    back = safe_next(fields.get("next", "/"))
    email = fields.get("email", "").strip()
    try:
        new_cookie = await enter(email, fields.get("password", ""))
    except Refused as refused:
        if refused.status not in REFUSALS:
            raise
        errors = errors_by_field(refused, FIELDS)
        return page(request, template, refused.status, email=email, errors=errors, next=back)
    return see_other(request, back, new_cookie)


ROUTES = (show_sign_up_form, sign_up, show_sign_in_form, sign_in, sign_out)
