"""What an order's page says and offers, in every state of the order and its payments; the API behind it is played by us."""

import asyncio
import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from stripe._api_version import _ApiVersion
from web.sessions import VERIFIER, token

from admitone.config import Settings
from admitone.kit.data.shared import SharedReads
from admitone.kit.http.app import litestar_app
from admitone.web import buying, service
from admitone.web.changes import LiveChanges
from admitone.web.render import POLICY, STRIPE_JS

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ORDER = UUID(int=7)
PAGE = f"/orders/{ORDER}"
BANK = "https://bank.example/confirm?payment=1&more"
TEST_KEY = "pk_test_12345678"
LIVE_KEY = "pk_live_12345678"
Json = dict[str, Any]
SOLD: Json = {
    "id": str(UUID(int=9)),
    "title": "Front row",
    "price": 12.5,
    "currency": "USD",
    "userId": str(UUID(int=8)),
    "orderId": str(ORDER),
    "status": "sold",
    "lockedUntil": None,
}

# Litestar announces its version 3 for every route of an app that is made in this process.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")


def attempt(status: str, number: int = 1, failure: str | None = None, redirect_url: str | None = None) -> Json:
    return {
        "id": str(UUID(int=number)),
        "orderId": str(ORDER),
        "attempt": number,
        "status": status,
        "amount": 12.5,
        "currency": "USD",
        "failure": failure,
        "redirectUrl": redirect_url,
        "begunAt": NOON.isoformat(),
    }


def declined(times: int) -> list[Json]:
    return [attempt("failed", number, "insufficient_funds") for number in range(1, times + 1)]


class House:
    """Stands in for the other services: what they answer, and what they were asked. The pages in front of them are the real ones."""

    def __init__(
        self, status: str = "awaiting:payment", *attempts: Json, stripe_key: str | None = None, fee: int = 0, **order: Any
    ) -> None:
        self.order = {
            "id": str(ORDER),
            "status": status,
            "reason": None,
            "expiresAt": (NOON + timedelta(seconds=order.pop("seconds_left", 200))).isoformat(),
            "serverTime": NOON.isoformat(),
            "ticket": {"id": str(UUID(int=9)), "title": "Front row", "price": 12.5},
            "currency": "USD",
            "paid": False,
            "uncollected": False,
            **order,
        }
        self.payments = httpx.Response(200, json=list(attempts))
        self.after_a_card = httpx.Response(201, json={})
        self.after_asking_for_more_time = httpx.Response(200, json={})
        self.history = httpx.Response(200, json=[{"at": NOON.isoformat(), "event": "OrderCreated", "text": "You clicked Buy."}])
        self.ticket = SOLD
        self.note = httpx.Response(200, json={"note": "Ask for Ann."})
        self.more: dict[str, str] = {}
        self.asked: list[str] = []
        self.hangs = False
        settings = Settings(stripe_publishable_key=stripe_key, fee_basis_points=fee)
        behind = httpx.AsyncClient(transport=httpx.MockTransport(self.answer), base_url="http://house.test", verify=False)
        self.app = litestar_app(
            service,
            {"settings": settings, "db": None, "client": behind, "live": LiveChanges(), "shared": SharedReads()},
            VERIFIER,
            secure=settings.secure,
            origins=settings.origins,
        )
        self.browser = httpx.AsyncClient(
            transport=httpx.ASGITransport(cast("Any", self.app)),
            base_url="http://localhost:8000",
            cookies={"session": token(600)},
            verify=False,
        )

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.raw_path.decode()}")
        what = request.url.path.rpartition("/")[2]
        if self.hangs and request.method == "GET" and what in ("payments", "history", "note"):
            await asyncio.sleep(60)
        match request.method, request.url.path:
            case "POST", "/api/payments":
                return self.after_a_card
            case "POST", "/api/tickets":
                return refused(400, "bad-input")
            case "GET", "/api/payments":
                assert dict(request.url.params) == {"orderId": str(ORDER)}
                return self.payments
            case "GET", "/api/orders":
                return httpx.Response(200, json=[self.order], headers=self.more)
            case "GET", "/api/tickets/mine":
                return httpx.Response(200, json=[self.ticket], headers={"Date": "Tue, 01 Jan 2030 12:00:00 GMT"})
            case "GET", "/api/users/sessions":
                return httpx.Response(200, json=[])
            case "GET", "/api/orders/proof":
                return refused(404, "not-found")
            case "GET", "/api/tickets":
                return httpx.Response(200, json=[])
            case "GET", "/api/tickets/00000000-0000-0000-0000-000000000009":
                return httpx.Response(200, json=self.ticket)
        parts = {"history": self.history, "note": self.note, "extension": self.after_asking_for_more_time}
        return parts.get(what, httpx.Response(200, json=self.order))

    async def page(self, path: str = PAGE) -> str:
        return self.says(await self.browser.get(path))

    async def pays(self) -> httpx.Response:
        return await self.browser.post(f"{PAGE}/payment", data={"card": "4242 4242 4242 4242", "key": "k" * 24})

    @staticmethod
    def says(answer: httpx.Response) -> str:
        """The page as it reads, markup and all, with its entities resolved and its lines joined."""
        return " ".join(html.unescape(answer.text).split())


def refused(status: int, kind: str, detail: str = "No.") -> httpx.Response:
    return httpx.Response(status, json={"type": f"urn:admitone:{kind}", "detail": detail, "errors": [{"message": detail}]})


def can_be_paid(page: str) -> bool:
    return 'name="card"' in page


async def test_a_payment_under_way_is_said_and_no_form_is_shown_in_any_tab() -> None:
    for status in ("created", "authorized", "completed"):
        page = await House("awaiting:payment", *declined(1), attempt(status, 2)).page()
        assert "Your payment is under way" in page
        assert "it is never charged twice" in page
        assert f'content="2; url={PAGE}"' in page
        assert not can_be_paid(page)
        assert "The card was declined" not in page


async def test_a_bank_that_asks_for_confirmation_is_a_link_away() -> None:
    page = await House("awaiting:payment", attempt("created", redirect_url=BANK)).page()
    assert "Your bank asks you to confirm" in page
    assert f'href="{BANK}">Go on to your bank</a>' in page
    assert "The time to pay goes on running: 3 minutes left." in page
    assert f'content="4; url={PAGE}"' in page
    assert "Cancel and give the ticket back" in page
    assert not can_be_paid(page)


async def test_a_confirmation_that_comes_after_the_time_is_up_may_be_too_late() -> None:
    page = await House("awaiting:payment", attempt("created", redirect_url=BANK), seconds_left=-1).page()
    assert "The time to pay is over: unless the confirmation comes through at once, the ticket goes back." in page
    assert "0 seconds left" not in page


@pytest.mark.parametrize(("times", "left"), [(1, "You have 2 more tries"), (2, "You have 1 more try:")])
async def test_after_a_decline_the_page_says_how_many_tries_are_left_above_the_form(times: int, left: str) -> None:
    page = await House("awaiting:payment", *declined(times)).page()
    assert "There is not enough money on the card. Nothing was charged." in page
    assert page.index(left) < page.index('name="card"')


async def test_after_the_third_decline_there_is_no_form() -> None:
    page = await House("awaiting:payment", *declined(3)).page()
    assert "The card was declined three times" in page
    assert f'content="4; url={PAGE}"' in page
    assert not can_be_paid(page)


async def test_that_a_card_was_lost_is_not_told_to_whoever_has_it() -> None:
    page = await House("awaiting:payment", attempt("failed", failure="lost_card")).page()
    assert "The card was declined" in page
    assert "lost" not in page.partition("<section")[0]


@pytest.mark.parametrize(
    ("status", "fields", "sentence", "looks_again"),
    [
        ("created", {}, "We are making sure that the ticket is held for you.", True),
        ("complete", {}, "The ticket is yours; your payment is being confirmed.", True),
        ("complete", {"paid": True}, "Paid. The ticket is yours.", False),
        ("complete", {"uncollected": True}, "Nothing was charged; we will be in touch.", False),
        ("cancelled", {"reason": "expired"}, "The time to pay was over. Nothing was charged.", False),
        ("refunded", {"paid": True}, "You got $12.50 back.", False),
        ("refunded", {"uncollected": True}, "This sale was undone", False),
        ("awaiting:payment", {"seconds_left": 0}, "The time to pay is over", True),
        ("awaiting:payment", {}, "3 minutes left", True),
    ],
)
async def test_every_state_has_its_sentence(status: str, fields: Json, sentence: str, looks_again: bool) -> None:
    house = House(status, **fields)
    page = await house.page()
    assert sentence in page
    assert ('<noscript><meta http-equiv="refresh"' in page) is looks_again
    assert ("data-again=" in page) is (looks_again and not can_be_paid(page))
    assert f'data-stream="/live{PAGE}"' in page
    assert (f"GET /api/payments?orderId={ORDER}" in house.asked) is (status == "awaiting:payment")


async def test_a_sale_that_was_undone_unpaid_promises_no_money_back() -> None:
    page = await House("refunded", uncollected=True).page()
    assert "You were not charged" in page
    assert "You got" not in page


async def test_a_ticket_whose_sale_was_undone_is_not_called_the_buyers() -> None:
    path = f"/tickets/{SOLD['id']}"
    assert "This ticket is yours" in await House("complete", paid=True).page(path)
    page = await House("refunded", paid=True).page(path)
    assert "the sale was undone" in page
    assert "This ticket is yours" not in page


def away(house: House) -> None:
    house.payments = httpx.Response(503)


def knows_no_such_order(house: House) -> None:
    house.payments = refused(404, "order-not-found")


def hangs(house: House) -> None:
    house.hangs = True


@pytest.mark.parametrize("trouble", [away, knows_no_such_order, hangs])
async def test_while_payments_does_not_answer_the_form_is_there(monkeypatch: pytest.MonkeyPatch, trouble: Callable[[House], None]) -> None:
    monkeypatch.setattr(buying, "EXTRAS_WITHIN_SECONDS", 0.05)
    house = House()
    trouble(house)
    answer = await house.browser.get(PAGE)
    assert answer.status_code == 200
    assert can_be_paid(answer.text)


@pytest.mark.parametrize(
    "begun",
    [
        httpx.Response(201, json={}),
        httpx.Response(202, json={"redirectUrl": BANK}),
        refused(402, "card-declined"),
        refused(409, "payment-under-way"),
        refused(409, "paid-already"),
    ],
)
async def test_a_payment_that_has_begun_leads_back_to_the_order_and_never_to_another_site(begun: httpx.Response) -> None:
    house = House()
    house.after_a_card = begun
    answer = await house.pays()
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)


MORE_TIME = f'action="{PAGE}/extension"'


@pytest.mark.parametrize(
    "attempts", [(), declined(2), [attempt("created", redirect_url=BANK)]], ids=["at first", "declined", "at the bank"]
)
async def test_while_there_is_time_more_of_it_can_be_asked_for_once(attempts: list[Json]) -> None:
    house = House("awaiting:payment", *attempts)
    page = await house.page()
    assert MORE_TIME in page
    assert "I need more time" in page
    assert "Once, five minutes." in page
    answer = await house.browser.post(f"{PAGE}/extension")
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert f"POST /api{PAGE}/extension" in house.asked
    page = await House("awaiting:payment", *attempts, extended=True).page()
    assert MORE_TIME not in page
    assert "You have had five minutes more, which is given once. Please pay before 12:03 UTC." in page


@pytest.mark.parametrize(
    ("status", "attempts", "fields"),
    [
        ("created", [], {}),
        ("complete", [], {"paid": True}),
        ("cancelled", [], {"reason": "expired", "extended": True}),
        ("awaiting:payment", [], {"seconds_left": 0}),
        ("awaiting:payment", [attempt("authorized")], {}),
        ("awaiting:payment", declined(3), {}),
    ],
    ids=["not confirmed", "paid", "cancelled", "too late", "being paid", "declined three times"],
)
async def test_nobody_is_offered_time_that_they_can_not_have_or_use(status: str, attempts: list[Json], fields: Json) -> None:
    page = await House(status, *attempts, **fields).page()
    assert MORE_TIME not in page
    assert "five minutes more" not in page


@pytest.mark.parametrize(
    ("status", "kind", "detail"),
    [
        ("awaiting:payment", "time-is-up", "The time to pay for this order is over, so it can't be extended any more."),
        ("complete", "order-ended", "This order is paid or cancelled, so it needs no more time."),
        ("created", "not-confirmed-yet", "This order is not confirmed yet. Please try again in a moment."),
    ],
)
async def test_more_time_that_is_refused_says_why(status: str, kind: str, detail: str) -> None:
    house = House(status, paid=status == "complete", seconds_left=0 if kind == "time-is-up" else 200)
    house.after_asking_for_more_time = refused(409, kind, detail)
    answer = await house.browser.post(f"{PAGE}/extension")
    assert answer.status_code == 409
    assert detail in house.says(answer)
    assert ("nothing is charged" in house.says(answer)) is (kind == "time-is-up")
    assert MORE_TIME not in house.says(answer)


async def test_a_processor_that_is_away_is_no_dead_end() -> None:
    house = House()
    house.after_a_card = refused(503, "processor-away")
    answer = await house.pays()
    assert answer.status_code == 503
    assert "Nothing was begun, and nothing was charged. Please try again in a moment." in house.says(answer)
    assert can_be_paid(answer.text)


async def test_any_other_silence_does_not_claim_that_nothing_was_begun() -> None:
    house = House()
    house.after_a_card = refused(503, "try-again")
    answer = await house.pays()
    assert answer.status_code == 503
    assert "we can't say whether it was done" in house.says(answer)
    assert "Nothing was begun" not in house.says(answer)


@pytest.mark.parametrize("key", [None, TEST_KEY])
async def test_a_token_that_is_none_is_said_beside_the_card(key: str | None) -> None:
    house = House(stripe_key=key)
    house.after_a_card = refused(400, "unknown-token", "This is no token of a card, or it was used before.")
    answer = await house.pays()
    assert answer.status_code == 400
    assert re.search(r'error"[^>]*>This is no token of a card, or it was used before.</p>', house.says(answer))


async def test_with_a_key_the_card_is_typed_into_stripes_form_and_not_into_ours() -> None:
    house = House(stripe_key=LIVE_KEY)
    house.order["ticket"]["price"] = 19.99
    page = await house.page()
    scripts = re.findall(r'<script src="([^"?]*)(?:\?[0-9a-f]{12})?" defer>', page)
    assert scripts == ["/static/time.js", "/static/live.js", STRIPE_JS, "/static/pay.js"]
    assert page.count("<script") == 4
    assert f'data-key="{LIVE_KEY}" data-amount="1999" data-currency="usd"' in page
    form = page.partition('<form id="pay-by-card"')[2].partition("</form>")[0]
    assert re.findall(r"<(?:input|select|textarea) ([^ ]+ [^ >]+)", form) == ['type="hidden" name="key"', 'type="hidden" name="card"']
    assert "<noscript>" in form
    assert "Paying by card needs JavaScript here" in form
    assert (await house.browser.get("/static/pay.js")).status_code == 200


async def test_without_a_key_no_page_has_a_script_but_ours() -> None:
    house = House()
    assert re.findall(r'<script src="/static/(\w+)\.js\?[0-9a-f]{12}" defer>', page := await house.page()) == ["time", "live"]
    assert page.count("<script") == 2
    assert "<noscript>" not in page.partition("<body>")[2]
    assert (await house.browser.get(PAGE)).headers["content-security-policy"] == POLICY


async def test_the_policy_allows_stripe_only_where_a_card_is_entered() -> None:
    house = House(stripe_key=TEST_KEY)
    for answer in (await house.browser.get(PAGE), await house.browser.post(f"{PAGE}/payment", data={"card": ""})):
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self' https://js.stripe.com https://*.js.stripe.com"
        assert policy["frame-src"] == "https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com"
        assert policy["connect-src"] == "'self' https://api.stripe.com"
        assert policy["form-action"] == "'self'"
    for path in ("/", "/sell", "/signup", "/nowhere", "/orders/x"):
        answer = await house.browser.get(path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert "stripe" not in answer.text
    for elsewhere in (
        House("complete", stripe_key=TEST_KEY),
        House("awaiting:payment", attempt("created"), stripe_key=TEST_KEY),
        House("awaiting:payment", *declined(3), stripe_key=TEST_KEY),
    ):
        answer = await elsewhere.browser.get(PAGE)
        assert answer.headers["content-security-policy"] == POLICY
        assert "stripe" not in answer.text


@pytest.mark.parametrize(("key", "said"), [(None, True), (TEST_KEY, True), (LIVE_KEY, False)])
async def test_every_page_says_test_mode_where_no_money_moves(key: str | None, said: bool) -> None:
    house = House(stripe_key=key)
    for path in ("/", PAGE, "/sell", "/nowhere", "/static/nothing.css"):
        assert ("Test mode: no real payments" in await house.page(path)) is said, path


@pytest.mark.parametrize(("key", "listed"), [(None, True), (TEST_KEY, True), (LIVE_KEY, False)])
async def test_the_published_test_cards_are_listed_in_test_mode(key: str | None, listed: bool) -> None:
    page = await House(stripe_key=key).page()
    for end in ("4242 4242 4242 4242", *(f"4000 0000 0000 {digits}" for digits in ("0002", "9995", "9987", "3220", "0119"))):
        assert (f"<dt>{end}</dt>" in page) is listed


async def test_stripes_script_is_of_the_release_that_our_sdk_speaks() -> None:
    assert f"https://js.stripe.com/{_ApiVersion.CURRENT_MAJOR}/stripe.js" == STRIPE_JS


async def test_an_order_from_an_older_version_can_be_read() -> None:
    house = House("complete")
    del house.order["uncollected"]
    assert "your payment is being confirmed" in await house.page()


async def test_the_page_of_a_paid_order_shows_its_note_or_does_without() -> None:
    for status in ("created", "awaiting:payment", "cancelled", "refunded"):
        house = House(status, paid=status == "refunded")
        assert "From the seller" not in await house.page()
        assert f"GET /api/tickets/{SOLD['id']}/note" not in house.asked
    house = House("complete", paid=True)
    assert "Ask for Ann." in await house.page()
    for trouble in (httpx.Response(503), refused(404, "note-not-found"), httpx.Response(200, json=[])):
        house.note = trouble
        page = await house.page()
        assert "Paid. The ticket is yours." in page
        assert "can’t be looked up just now" in page


async def test_what_happened_is_told_oldest_first_and_the_day_too_where_it_was_another() -> None:
    house = House("cancelled", reason="expired")
    lines = [("2029-12-31T23:59:00Z", "You clicked <Buy>."), ("2030-01-01T00:14:30Z", "Cancelled: the time to pay was over.")]
    house.history = httpx.Response(200, json=[{"at": at, "event": "OrderCreated", "text": text} for at, text in lines])
    answer = await house.browser.get(PAGE)
    assert "You clicked &lt;Buy&gt;." in answer.text
    told = re.findall(r"<li><time[^>]*>(.*?)</time> (.*?)</li>", house.says(answer))
    assert told == [("31 December, 23:59", lines[0][1]), ("00:14", lines[1][1])]


@pytest.mark.parametrize("history", [httpx.Response(503), httpx.Response(404), httpx.Response(200, json={"no": "list"})])
async def test_the_page_does_without_a_history_that_cannot_be_had(history: httpx.Response) -> None:
    house = House()
    assert "What happened so far" in await house.page()
    house.history = history
    page = await house.page()
    assert can_be_paid(page)
    assert "What happened so far" not in page
