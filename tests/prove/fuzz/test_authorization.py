"""Every route, asked with every forged token there is."""

from support.house import House
from support.permissions import ROUTES, found_wrong


async def test_no_forged_token_is_good_for_anything_anywhere(house: House) -> None:
    asked, wrong = await found_wrong(house)
    assert not wrong, "\n".join(wrong)
    assert asked > 20 * len(ROUTES)
