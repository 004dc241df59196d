"""Sign up, in and out, and what one can change. The session's cookie is auth's own, handed on as it is."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from uuid import UUID

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


@get("/account")
async def show_account(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/account")
    return await _account(request, api, done=request.query_params.get("done", ""))


@post("/account/password")
async def change_password(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/account")
    fields = await read_form(request)
    try:
        await api.change_password(fields.get("currentPassword", ""), fields.get("password", ""))
    except Refused as refused:
        if refused.status not in REFUSALS:
            raise
        return await _account(request, api, refused.status, errors=errors_by_field(refused, ("currentPassword", "password")))
    return see_other(request, "/account?done=password")


@post("/account/sessions/{session_id:uuid}/end")
async def end_session(request: AnyRequest, session_id: UUID, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/account")
    await api.end_session(session_id)
    return see_other(request, "/account?done=session")


@post("/account/sessions/end")
async def end_all_sessions(request: AnyRequest, visitor: Visitor, api: Api) -> Response[str]:
    visitor.must_be_signed_in(back="/account")
    return see_other(request, "/", await api.end_all_sessions())


@get(["/account/password", "/account/sessions/end", "/account/sessions/{session_id:uuid}/end"])
async def back_to_account(request: AnyRequest) -> Response[str]:
    """A reload of a form's address leads back to the account."""
    return see_other(request, "/account")


async def _account(
    request: AnyRequest, api: Api, status: int = 200, *, errors: Mapping[str, str] = MappingProxyType({}), done: str = ""
) -> Response[str]:
    return page(request, "account.html", status, sessions=await api.sessions(), errors=errors, done=done)


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


ROUTES = (
    *(show_sign_up_form, sign_up, show_sign_in_form, sign_in, sign_out),
    *(show_account, change_password, end_session, end_all_sessions, back_to_account),
)
