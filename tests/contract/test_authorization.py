"""Who may do what: a route that is not in the table of tests/support/permissions.py fails the build."""

import pytest
from support.house import House
from support.permissions import ALLOWED, ROUTES, SIGN_IN, found_wrong, scene_of


def test_every_route_says_whom_it_is_for() -> None:
    unlisted, gone = sorted(ROUTES - ALLOWED.keys()), sorted(ALLOWED.keys() - ROUTES)
    assert not unlisted, f"say in tests/support/permissions.py: ALLOWED what {', '.join(unlisted)} answers to whom"
    assert not gone, f"there is no {', '.join(gone)} any more: take it out of ALLOWED"


async def test_everybody_may_do_what_the_table_says_and_nothing_else(house: House) -> None:
    """With one of the forged tokens for each route, in turn; `make fuzz` tries all of them everywhere."""
    asked, wrong = await found_wrong(house, forgeries_each=1)
    assert not wrong, "\n".join(wrong)
    assert asked > 4 * len(ROUTES)


@pytest.mark.parametrize("page", ["/orders", "/api/orders"])
async def test_a_cookie_that_comes_twice_is_one_of_both(house: House, page: str) -> None:
    """Whichever it is: a false one beside a true one gives nobody more than the true one has."""
    scene = await scene_of(house)
    bobs, eves = (person.client.cookies["session"] for person in (scene.bob, scene.eve))
    async with scene.client:
        for cookie in (f"{bobs[:-5]}; session={eves}", f"{eves}; session={bobs[:-5]}"):
            answer, text = await scene.asks(f"GET {page}", cookie)
            assert answer in (200, 401, SIGN_IN)
            assert scene.order["id"] not in text
