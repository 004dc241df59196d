"""One order's story, as `admitone journey` tells it."""

from uuid import uuid4

from house import House


async def test_a_sale_is_told_from_the_listing_to_the_money(house: House) -> None:
    ann, bob = await house.people("ann", "bob")
    order = await bob.buys(await ann.lists("Front row", 30))
    waiting = house.admitone("journey", order["id"])
    assert waiting.returncode == 0, waiting.stderr
    assert "It is awaiting:payment." in waiting.stdout
    assert "Still missing: a payment, begun before" in waiting.stdout

    assert (await bob.pays(order)).status_code == 201
    await house.at_rest()
    told = house.admitone("journey", order["id"]).stdout
    story = ["ticket created", "order created", "ticket updated", "order reserved", "payment authorized", "order completed"]
    places = [told.index(chapter) for chapter in story]
    assert places == sorted(places)
    assert "heard by tickets after" in told
    assert "because of 2" in told
    assert "payment created" in told
    assert told.rstrip().endswith("It is complete.\nNothing is missing.")


def test_an_order_that_is_none_is_one_sentence(house: House) -> None:
    for wanted, sentence in ((str(uuid4()), "No service's log speaks of order"), ("12", "is no order id")):
        refused = house.admitone("journey", wanted)
        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
