"""What a route says of itself is what it does. (tests/contract compares every answer, too.)"""

import inspect
import json
import re
import sys
from typing import Any

import pytest
from litestar import get
from litestar.handlers import BaseRouteHandler
from msgspec import Struct
from support.answers import DOCUMENTED, DOCUMENTS, OPERATIONS

from admitone.apidocs.openapi import Operation, document, is_form
from admitone.kit.http.documented import documented
from admitone.kit.http.problem import NotFound, Problem
from admitone.kit.service import Service
from admitone.payments.model import NothingToRefund, NothingToSettle, StillUnknown

NEVER_ANSWERED = {NothingToRefund, NothingToSettle, StillUnknown}
"""Said by the command line, or to another function."""


def ids(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def test_a_route_that_says_nothing_of_itself_is_named() -> None:
    @get("/silent")
    async def silent_route() -> None: ...

    with pytest.raises(LookupError, match="silent_route"):
        document(Service(name="orders", prefix="/api/x", routes=(silent_route,)))
    with pytest.raises(LookupError, match="silent_route"):  # It has no sentence.
        document(Service(name="orders", prefix="/api/x", routes=(documented(answers={200: None})(silent_route),)))


def test_every_route_that_is_written_is_served() -> None:
    for service in DOCUMENTED:
        written = {
            name for name, thing in vars(sys.modules[f"admitone.{service.name}.routes"]).items() if isinstance(thing, BaseRouteHandler)
        }
        served = {handler.fn.__name__ for handler in service.routes}
        assert written <= served, f"add {', '.join(written - served)} to the ROUTES of {service.name}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=ids)
def test_a_route_reads_what_it_says_that_it_reads(operation: Operation) -> None:
    source, told = inspect.getsource(operation.function), operation.documented
    assert re.findall(r"\bread\(request, (\w+)\)", source) == ([told.body.__name__] if is_form(told.body) else [])
    assert re.findall(r"\bread_query\(request, (\w+)\)", source) == ([told.query.__name__] if told.query else [])
    assert bool(re.search(r"\bkey_of\(", source)) == told.takes_key
    assert ("request.body()" in source) == (told.body is object)
    assert ("links(" in source or "_page(" in source) == ("Link" in told.gives_headers)


def test_every_refusal_of_a_service_is_in_its_document() -> None:
    for service in DOCUMENTED:
        model = sys.modules[f"admitone.{service.name}.model"]
        written = {kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, Problem)}
        told = {refusal for operation in OPERATIONS if operation.service is service for refusal in operation.refusals()}
        missing = {refusal.__name__ for refusal in written - told - {Problem, NotFound} - NEVER_ANSWERED}
        assert not missing, f"no route of {service.name} names it in `refuses`; if none can answer it, add it to NEVER_ANSWERED"


@pytest.mark.parametrize("service", DOCUMENTS)
def test_a_document_is_whole(service: str) -> None:
    found = DOCUMENTS[service]
    text = json.dumps(found)
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text))
    assert references == set(found["components"]["schemas"])
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_a_form_says_its_rules() -> None:
    forms: dict[str, Any] = {name: schema for found in DOCUMENTS.values() for name, schema in found["components"]["schemas"].items()}
    ticket, order, sign_up = forms["EditForm"], forms["OrderForm"], forms["SignUpForm"]
    assert ticket["additionalProperties"] is order["additionalProperties"] is sign_up["additionalProperties"] is False
    assert (ticket["required"], order["required"]) == (["title", "price"], ["ticketId"])
    assert (ticket["properties"]["title"]["minLength"], ticket["properties"]["title"]["maxLength"]) == (1, 200)
    number, text = ticket["properties"]["price"]["anyOf"]
    assert (number["minimum"], number["maximum"], number["multipleOf"]) == (0.5, 999999.99, 0.01)
    prices = {"0.50": True, "0.5": True, "1": True, "999999.99": True, "000000001.00": True,
              "0.49": False, "0": False, "1000000": False, "1.234": False, "1.": False, "-1": False, "0000000001": False}  # fmt: skip
    assert {price: bool(re.search(text["pattern"], price)) for price in prices} == prices
    email = sign_up["properties"]["email"]["pattern"]
    assert r"\Z" not in email
    assert [bool(re.search(email, text)) for text in ("ann@example.com", "ann@example.com\n", "ann@example")] == [True, False, False]


def test_two_different_things_of_one_name_are_refused() -> None:
    class Form(Struct):
        one: int

    first = Form

    class Form(Struct):  # type: ignore[no-redef]
        two: int

    @documented(answers={200: first, 201: Form})
    @get("/two")
    async def two() -> None:
        """Two."""

    with pytest.raises(ValueError, match="called Form"):
        document(Service(name="orders", prefix="/api/x", routes=(two,)))
