"""A slice of the long list in tests/support/attempts.py; `make fuzz` goes through the whole."""

from itertools import islice

import pytest
from support.attempts import FORM_FIELDS, OPERATIONS, Scene, unwelcome
from support.house import House

EVERY = 40


@pytest.fixture(autouse=True)
def _every_answer_is_documented() -> None:
    """That is compared where the attempts are made: some of them are no HTTP."""


def test_every_form_of_the_pages_is_attempted() -> None:
    forms = {operation.path for operation in OPERATIONS if not operation.service.has_database and operation.method == "POST"}
    assert forms == set(FORM_FIELDS), "say in tests/support/attempts.py: FORM_FIELDS what a form has"


async def test_nothing_that_nobody_should_send_is_too_much(house: House) -> None:
    scene = await Scene.begin(house)
    assert await unwelcome(scene, islice(scene.attempts(), 0, None, EVERY)) == []
