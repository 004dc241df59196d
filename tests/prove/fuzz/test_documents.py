"""What schemathesis makes of each service's document: whatever it asks, no 5xx, and every answer as the document says."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.answers import OPERATIONS
from support.house import House, Person

EXAMPLES = 25
"""Of each kind, by each principal, for each operation: all together they take two or three minutes."""
EXAMPLES_THAT_WAIT = 4
WAIT = {"POST /api/orders", "POST /api/payments", "GET /api/tickets/{ticketId}/note"}
"""What is not there is waited for, for a second."""
WANTED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LABELS = [f"{operation.method} {operation.path}" for operation in OPERATIONS]


class Principals:
    """Ann with a ticket, Bob with an order of it that waits for his bank; and ids of theirs, which nothing would guess."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cookies: dict[str, str | None] = {"nobody": None}
        self.ids: dict[str, str] = {}
        self.operations: dict[str, Any] = {}
        self.answers: dict[str, set[int]] = defaultdict(set)

    async def begin(self) -> None:
        ann, bob = await self.house.people("ann", "bob")
        ticket = await ann.lists("Front row", 20)
        order = await bob.buys(ticket)
        assert (await bob.pays(order, "tok_threeDSecure2Required")).status_code == 202
        [charge] = await self.house.rows("payments", "SELECT charge_id, stripe_id FROM charges WHERE order_id::text = $1", order["id"])
        self.ids = {"ticketId": ticket["id"], "orderId": order["id"], "chargeId": str(charge["charge_id"]), "intentId": charge["stripe_id"]}
        self.ids["sessionId"] = (await bob.client.get("/api/users/sessions")).json()[0]["id"]
        self.cookies |= {"the seller": _session(ann), "the buyer": _session(bob)}
        async with httpx.AsyncClient(base_url=self.house.url, verify=False) as client:
            for service in dict.fromkeys(operation.service.name for operation in OPERATIONS):
                document = (await client.get(f"/docs/{service}/openapi.json")).json()
                self.operations |= {found.label: found for found in _operations(document)}


@pytest.fixture(scope="module")
async def principals(house: House) -> Principals:
    principals = Principals(house)
    await principals.begin()
    assert sorted(principals.operations) == sorted(LABELS)
    return principals


def _session(person: Person) -> str:
    return person.client.cookies["session"]


def _operations(document: dict[str, Any]) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        yield found.ok()


@pytest.mark.parametrize("who", ["nobody", "the seller", "the buyer"])
@pytest.mark.parametrize("label", LABELS)
def test_an_operation_answers_as_its_document_says_whatever_it_is_sent(principals: Principals, label: str, who: str) -> None:
    operation, cookie = principals.operations[label], principals.cookies[who]
    headers = {"Cookie": f"session={cookie}"} if cookie else {}
    good_and_bad = st.one_of(operation.as_strategy(GenerationMode.POSITIVE), operation.as_strategy(GenerationMode.NEGATIVE))

    @settings(
        max_examples=EXAMPLES_THAT_WAIT if label in WAIT else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=good_and_bad, ours=st.booleans())
    def asks(case: Any, ours: bool) -> None:
        if ours:
            case.path_parameters = {name: principals.ids[name] for name in case.path_parameters or {}}
            if isinstance(case.body, dict):
                case.body |= {name: value for name, value in principals.ids.items() if name in case.body}
        case.cookies = {}
        answer = case.call(base_url=principals.house.url, headers=headers)
        principals.answers[label].add(answer.status_code)
        case.validate_response(answer, checks=WANTED)

    asks()


def test_it_was_not_just_refused(principals: Principals) -> None:
    good = [label for label, found in principals.answers.items() if min(found) < 400]
    assert len(good) > len(LABELS) / 2, f"only these had a good answer: {good}"
