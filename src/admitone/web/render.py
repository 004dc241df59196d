"""How an answer becomes a page: templates, headers, redirects, and the pages for what went wrong."""

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import quote

from litestar import Response
from litestar.exceptions import HTTPException

from admitone.config import Settings
from admitone.kit.http import pages
from admitone.kit.http.amount import money
from admitone.kit.http.app import as_problem
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.session import cookie_name, set_cookie
from admitone.web import wording
from admitone.web.api import Away, Refused
from admitone.web.form import new_key
from admitone.web.static import FILES
from admitone.web.visitor import SignInFirst, Visitor

HERE = Path(__file__).parent
LOCATION_SAFE = "/#%[]=:;$&()+,!?*@'~"

POLICY = pages.policy(form_action="'self'", script_src="'self'", connect_src="'self'")
POLICY_WITH_STRIPE = pages.policy(
    form_action="'self'",
    script_src="'self' https://js.stripe.com https://*.js.stripe.com",
    connect_src="'self' https://api.stripe.com",
    frame_src="https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com",
)
"""For a page with Stripe's Payment Element and no other: what https://docs.stripe.com/security/guide#content-security-policy asks for
Stripe.js, without the maps of its Address Element."""
HEADERS = {
    **pages.HEADERS,
    "Content-Security-Policy": POLICY,
    # Every page names its visitor, and its forms are good for one use.
    "Cache-Control": "no-store",
}

TITLES = {
    400: "That can't be used",
    403: "That is not yours to change",
    404: "Not found",
    405: "That is not how this page is opened",
    409: "That is not possible any more",
    413: "That is too long",
    422: "This form was sent before",
    429: "A little slower, please",
    503: "Back in a moment",
}

STRIPE_JS = "https://js.stripe.com/endive/stripe.js"
"""The release that goes with our Stripe SDK's API version (2026-10-28.endive): https://docs.stripe.com/sdks/stripejs-versioning"""


templates = pages.environment(HERE / "templates")
templates.filters |= {
    "money": money,
    "moment": wording.moment,
    "day_and_time": wording.day_and_time,
    "time_left": wording.time_left,
    "order_state": wording.order_state,
    "browser": wording.browser,
    "sellers_share": wording.sellers_share_of,
    "with_links": wording.with_links,
}
templates.globals |= {
    "font": "/static/vendor/archivo/archivo-latin-wdth-normal.woff2",  # As look.css has it.
    "look": FILES.address("look.css"),
    "style": FILES.address("style.css"),
    "pay_script": FILES.address("pay.js"),
    "live_script": FILES.address("live.js"),
    "time_script": FILES.address("time.js"),
    "share_script": FILES.address("share.js"),
    "search_script": FILES.address("search.js"),
    "htmx_script": FILES.address("vendor/htmx/htmx.min.js"),
    "stripe_js": STRIPE_JS,
    "test_cards": wording.TEST_CARDS,
    "why_declined": wording.why_declined,
    "ticket_states": wording.TICKET_STATES,
    "reasons": wording.REASONS,
    "fee_in_words": wording.fee_in_words,
    "shares": wording.shares,
    "shares_in_words": wording.SHARES,
    "refusals": wording.REFUSALS,
    "given_back": wording.GIVEN_BACK,
    "free_again_in": wording.free_again_in,
    "new_key": new_key,
    "milliseconds": wording.milliseconds,
}


def page(request: AnyRequest, template: str, status: int = 200, *, policy: str = POLICY, **values: Any) -> Response[Any]:
    """A page, with the state of its visitor on it. `visitor`, `path`, `test_mode` and `unencrypted` are for the frame around it, `since`
    says what it is older than: what happened after that place, an open page is told. `fee` is the marketplace's, in basis points.

    Only a stranger's is packed. Whoever is signed in has secrets on theirs, beside what an address may put there (`?q=`): from the
    length of the two packed together, a listener on the line could guess one by the other.
    """
    visitor = _visitor(request)
    settings = settings_of(request)
    live = (settings.stripe_publishable_key or "").startswith("pk_live_")
    frame = {
        "visitor": visitor,
        "path": request.url.path,
        "test_mode": not live,
        "unencrypted": not settings.secure and not settings.loopback,
        "since": request.state.get("since", ""),
        "fee": settings.fee_basis_points,
    }
    text = templates.get_template(template).render(**frame, **values)
    headers = _new_headers(visitor) | {"Content-Security-Policy": policy}
    if (visitor is None or visitor.user is None) and pages.accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        packed = gzip.compress(text.encode(), 6, mtime=0)
        return Response(packed, status_code=status, headers=headers, media_type="text/html")
    return Response(text, status_code=status, headers=headers, media_type="text/html")


def render_fragment(template: str, **values: Any) -> str:
    """Render a part of a page that is the same for many visitors: it contains nothing personal."""
    return templates.get_template(template).render(**values)


def current_url(request: AnyRequest) -> str:
    """The path and query of the requested page."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def settings_of(request: AnyRequest) -> Settings:
    """Those that the app was made with, as its routes are given them: an address of no page has no route to be given anything."""
    settings: Settings = request.app.state.settings
    return settings


def see_other(request: AnyRequest, path: str, new_cookie: str | None = None) -> Response[str]:
    """A redirect (303) to another page of ours, as after a form that has succeeded."""
    headers = _new_headers(_visitor(request), new_cookie) | {"Location": quote(path, safe=LOCATION_SAFE)}
    return Response("", status_code=303, headers=headers, media_type="text/html")


def sign_in_path(back: str) -> str:
    return f"/signin?next={quote(back, safe='/')}"


def error_page(request: AnyRequest, error: Exception) -> Response[str]:
    """The page for an error, with its status."""
    match error:
        case SignInFirst(back=back):
            return see_other(request, sign_in_path(back))
        case Refused(status=401):
            # Its token was good for us, but not for them: without it the visitor can start again.
            back = request.url.path if request.method == "GET" else "/"
            return see_other(request, sign_in_path(back), set_cookie("", secure=cookie_name(secure=True) in request.cookies))
        case Refused(kind="key-reused"):
            return _error(request, 422, "It had something else in it then. Please open its page again.")
        case Refused(status=status, detail=detail):
            return _error(request, status, detail)
        case Away():
            answer = _error(request, 503, _what_now(request))
            answer.headers["Retry-After"] = "2"
            return answer
    problem = as_problem(error)
    answer = _error(request, problem.status, problem.detail)
    answer.headers.update(problem.headers)
    if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
        answer.headers["Allow"] = error.headers["allow"]
    return answer


def _error(request: AnyRequest, status: int, detail: str) -> Response[str]:
    title = TITLES.get(status, "Something went wrong" if status >= 500 else "That did not work")
    return page(request, "error.html", status, title=title, detail=detail, code=status)


def _what_now(request: AnyRequest) -> str:
    if request.method == "GET":
        return "This page is temporarily unavailable. Please try again in a moment."
    return (
        "This is temporarily unavailable, so we can't say whether it was done. Please look at your orders "
        "and listings in a moment, before you try again."
    )


def _visitor(request: AnyRequest) -> Visitor | None:
    """None where the request never got as far as to ask, an address of no page for one."""
    found: Visitor | None = request.state.get("visitor")
    return found


def _new_headers(visitor: Visitor | None, new_cookie: str | None = None) -> dict[str, str]:
    new_cookie = new_cookie or (visitor.new_cookie if visitor else None)
    return {**HEADERS, "Set-Cookie": new_cookie} if new_cookie else dict(HEADERS)
