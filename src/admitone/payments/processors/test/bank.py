"""The page of the buyer's bank, in test mode: it asks whether the payment is to go through, and leads back."""

from html import escape
from typing import Any

from litestar import Response, get, post

from admitone.kit.http.amount import major
from admitone.kit.http.binding import AnyRequest
from admitone.kit.http.documented import HTML, documented
from admitone.kit.http.problem import NotFound
from admitone.payments.model import ChargeNotFound
from admitone.payments.processors.protocol import CardProcessor
from admitone.payments.processors.test.processor import NEEDS_CONFIRMATION, TestProcessor

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Test bank</title><link rel="stylesheet" href="/static/style.css">
<body><p class="test-mode">Test mode: no real payments</p><main id="main"><div class="column"><section class="panel">
<h1>Your bank asks</h1><p>Admit One wants to charge {amount} {currency} to your test card. Is that you?</p>
<form class="actions" method="post"><button class="button button--large" formaction="{here}/approval">Yes, confirm the payment</button>
<button class="button button--secondary" formaction="{here}/refusal">No, refuse it</button></form>
</section></div></main></body></html>"""


@documented(answers={200: HTML, 303: None}, refuses=(ChargeNotFound, NotFound))
@get("/test-bank/{intent_id:str}")
async def ask_buyer(request: AnyRequest, intent_id: str, processor: CardProcessor) -> Response[str]:
    """The page of the buyer's bank, in test mode."""
    intent = await _bank(processor).intent(intent_id)
    if intent.status != NEEDS_CONFIRMATION:
        return _back(intent.charge_id.hex)
    page = PAGE.format(amount=f"{major(intent.amount_cents):.2f}", currency=intent.currency, here=escape(request.url.path, quote=True))
    return Response(page, headers=HEADERS, media_type="text/html")


@documented(answers={303: None}, refuses=(ChargeNotFound, NotFound))
@post(["/test-bank/{intent_id:str}/approval", "/test-bank/{intent_id:str}/refusal"])
async def answer(request: AnyRequest, intent_id: str, processor: CardProcessor) -> Response[Any]:
    """What the buyer answers there."""
    intent = await _bank(processor).confirm(intent_id, approve=request.url.path.endswith("/approval"))
    return _back(intent.charge_id.hex)


def _back(charge_id: str) -> Response[Any]:
    return Response("", status_code=303, headers={"Location": f"/api/payments/{charge_id}/return"}, media_type="text/plain")


def _bank(processor: CardProcessor) -> TestProcessor:
    if not isinstance(processor, TestProcessor):
        raise NotFound
    return processor


ROUTES = (ask_buyer, answer)
