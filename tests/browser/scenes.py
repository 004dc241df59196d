"""Every page in every state that it has, each with what has to happen before."""

import re
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import uuid4

from browser.visitor import BUY, CARD_OF_A_CAUTIOUS_BANK, DECLINED_CARD, TAKEN, YOURS, Visitor, order_path, ticket_path
from playwright.async_api import expect
from support.house import House, Json, Person, eventually

from admitone.ops.demo.wares import PARTICULAR


class Begin(Protocol):
    """A visitor with this test's kind of window."""

    async def __call__(self, who: Person | None = None) -> Visitor: ...


Scene = Callable[[House, Begin], Awaitable[None]]
SCENES: dict[str, Scene] = {}


def scene(play: Scene) -> Scene:
    SCENES[play.__name__] = play
    return play


@scene
async def the_list(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    word = uuid4().hex[:8]
    for ware in PARTICULAR.values():
        await ann.lists(f"{ware.title[:190]} {word}", 42)
    await ann.lists(f"{'Donaudampfschifffahrtsgesellschaftskapitän' * 4} {word}", 999_999.99)
    await (await begin()).opens(f"/?q={word}")


@scene
async def the_front_page(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await ann.lists("Front row", 20)
    await (await begin(ann)).opens("/")


@scene
async def a_search_without_result(house: House, begin: Begin) -> None:
    await (await begin()).opens(f"/?q={uuid4().hex}")


@scene
async def a_search_that_is_wrong(house: House, begin: Begin) -> None:
    await (await begin()).opens("/?min=cheap&max=-1")


@scene
async def a_page_that_is_not_there(house: House, begin: Begin) -> None:
    await (await begin()).opens("/nowhere")


@scene
async def the_proof(house: House, begin: Begin) -> None:
    house.admitone("verify", "--publish")  # Whatever it finds here.
    await (await begin()).opens("/proof")


@scene
async def sign_up(house: House, begin: Begin) -> None:
    await (await begin()).opens("/signup")


@scene
async def sign_up_with_mistakes(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    visitor = await begin()
    await visitor.opens("/signup")
    await visitor.fills_in(e_mail=ann.email, password="correct horse")
    await visitor.main.get_by_role("button", name="Sign up").click()
    await visitor.sees(re.compile("already"))


@scene
async def sign_in(house: House, begin: Begin) -> None:
    await (await begin()).opens("/signin")


@scene
async def sign_in_with_a_wrong_password(house: House, begin: Begin) -> None:
    visitor = await begin()
    await visitor.opens("/signin")
    await visitor.fills_in(e_mail=f"{uuid4().hex}@example.com", password="wrong")
    await visitor.main.get_by_role("button", name="Sign in").click()
    await visitor.sees(re.compile("wrong"))


@scene
async def the_account(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await ann.client.post("/api/users/signin", json={"email": ann.email, "password": "correct horse"}, headers={"Cookie": ""})
    await (await begin(ann)).opens("/account")


@scene
async def the_account_with_mistakes(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    visitor = await begin(ann)
    await visitor.opens("/account")
    await visitor.fills_in(current_password="wrong horse", new_password="battery staple")
    await visitor.main.get_by_role("button", name="Change the password").click()
    await visitor.sees(re.compile("That is not your password"))


@scene
async def selling(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin(ann)).opens("/sell")


@scene
async def selling_with_mistakes(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    visitor = await begin(ann)
    await visitor.opens("/sell")
    await visitor.fills_in(title=" ", price="much")
    await visitor.clicks(re.compile("for sale"))
    await expect(visitor.page.get_by_label(re.compile("^Price"))).to_have_attribute("aria-invalid", "true")


@scene
async def editing(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin(ann)).opens(ticket_path(await ann.lists("Front row", 20)) + "/edit")


@scene
async def no_listings(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin(ann)).opens("/listings")


@scene
async def listings_of_every_kind(house: House, begin: Begin) -> None:
    ann, _ = await seller_and_buyer_of_every_kind(house)
    await (await begin(ann)).opens("/listings")


@scene
async def no_orders(house: House, begin: Begin) -> None:
    [bob] = await house.people("bob")
    await (await begin(bob)).opens("/orders")


@scene
async def orders_of_every_kind(house: House, begin: Begin) -> None:
    _, bob = await seller_and_buyer_of_every_kind(house)
    await (await begin(bob)).opens("/orders")


@scene
async def a_ticket_seen_by_a_stranger(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin()).opens(ticket_path(await ann.lists("Front row", 20)))


@scene
async def a_ticket_seen_by_a_buyer(house: House, begin: Begin) -> None:
    [ann, bob] = await house.people("ann", "bob")
    await (await begin(bob)).opens(ticket_path(await ann.lists("Front row", 20)))


@scene
async def a_ticket_written_from_right_to_left(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin()).opens(ticket_path(await ann.lists(PARTICULAR[4].title, 20)))


@scene
async def a_ticket_without_a_space(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    await (await begin()).opens(ticket_path(await ann.lists("x" * 200, 999_999.99)))


@scene
async def a_ticket_of_ones_own(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    visitor = await begin(ann)
    await visitor.opens(ticket_path(await ann.lists("Front row", 20)))
    await visitor.page.get_by_text(re.compile("^Withdraw")).first.click()
    await visitor.sees_control(re.compile("^Yes"))


@scene
async def a_ticket_of_ones_own_that_is_held(house: House, begin: Begin) -> None:
    ann, _, ticket, _ = await held(house)
    await ann.sees_ticket(ticket, "locked")
    await (await begin(ann)).opens(ticket_path(ticket))


@scene
async def a_ticket_of_ones_own_that_was_withdrawn(house: House, begin: Begin) -> None:
    [ann] = await house.people("ann")
    ticket = await ann.lists("Front row", 20)
    await ann.ask("DELETE", f"/api/tickets/{ticket['id']}")
    await (await begin(ann)).opens(ticket_path(ticket))


@scene
async def a_ticket_that_another_holds(house: House, begin: Begin) -> None:
    ann, _, ticket, _ = await held(house)
    await ann.sees_ticket(ticket, "locked")
    await (await begin()).opens(ticket_path(ticket))


@scene
async def a_ticket_that_one_holds(house: House, begin: Begin) -> None:
    _, bob, ticket, _ = await held(house)
    await bob.sees_ticket(ticket, "locked")
    await (await begin(bob)).opens(ticket_path(ticket))


@scene
async def a_ticket_that_is_sold(house: House, begin: Begin) -> None:
    _, bob, ticket, order = await held(house)
    await bob.pays(order)
    await bob.sees_ticket(ticket, "sold")
    await (await begin()).opens(ticket_path(ticket))


@scene
async def a_ticket_that_was_just_taken(house: House, begin: Begin) -> None:
    [ann, bob, cat] = await house.people("ann", "bob", "cat")
    ticket = await ann.lists("Front row", 20)
    visitor = await begin(cat)
    await visitor.scripts(False)
    await visitor.opens(ticket_path(ticket))
    await visitor.sees_control(BUY)
    await bob.buys(ticket)
    await visitor.clicks(BUY)
    await visitor.sees(TAKEN)
    await visitor.scripts(True)


@scene
async def an_order_to_pay(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await (await begin(bob)).opens(order_path(order))


@scene
async def an_order_with_a_card_that_is_none(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.pays("4111 1111 1111 1111")
    await visitor.sees(re.compile("test card"))


@scene
async def an_order_whose_card_was_declined(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.pays(DECLINED_CARD)
    await visitor.sees(re.compile("declined"))


@scene
async def an_order_that_waits_for_the_bank(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.pays(CARD_OF_A_CAUTIOUS_BANK)
    await visitor.sees_control(re.compile("bank"))


@scene
async def an_order_that_is_paid(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await bob.pays(order)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.sees(YOURS)


@scene
async def an_order_that_was_cancelled(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await bob.cancels(order)
    await (await begin(bob)).opens(order_path(order))


@scene
async def an_order_with_more_time(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await bob.extends(order)
    await (await begin(bob)).opens(order_path(order))


@scene
async def an_order_whose_time_is_up(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await house.rows("orders", "UPDATE orders SET expires_at = now() WHERE order_id = $1", order["id"])
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.sees("The time to pay is over")


@scene
async def an_order_that_is_paid_and_has_a_note(house: House, begin: Begin) -> None:
    ann, bob, ticket, order = await held(house)
    note = f"Code at the door: 7431\n\nhttps://example.com/{'way/' * 60} <b>Ask for Ann.</b>\n" + "نلتقي عند المدخل الرئيسي " * 4
    await ann.ask("PUT", f"/api/tickets/{ticket['id']}/note", {"note": note})
    await bob.pays(order)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.sees("Code at the door")


@scene
async def an_order_whose_money_could_not_be_taken(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await eventually(lambda: nothing_to_take(house))  # Or it would be another scene's money that is refused.
    await house.rows("testgateway", "INSERT INTO faults (call, fault, times) VALUES ('capture', 'refuse', 1)")
    await bob.pays(order)
    visitor = await begin(bob)
    await visitor.opens(order_path(order))
    await visitor.sees("could not be collected")


@scene
async def an_order_that_was_refunded(house: House, begin: Begin) -> None:
    _, bob, _, order = await held(house)
    await bob.pays(order)
    await bob.sees_order(order, "complete")
    assert house.admitone("refund", order["id"], "--reason", "the show is off").returncode == 0
    await bob.sees_order(order, "refunded")
    await (await begin(bob)).opens(order_path(order))


@scene
async def editing_a_ticket_that_is_held(house: House, begin: Begin) -> None:
    ann, _, ticket, _ = await held(house)
    await ann.sees_ticket(ticket, "locked")
    visitor = await begin(ann)
    await visitor.opens(f"{ticket_path(ticket)}/edit")
    await visitor.sees("it can’t be changed")


@scene
async def a_ticket_of_ones_own_that_is_sold(house: House, begin: Begin) -> None:
    ann, bob, ticket, order = await held(house)
    await bob.pays(order)
    await ann.sees_ticket(ticket, "sold")
    visitor = await begin(ann)
    await visitor.opens(ticket_path(ticket))
    await visitor.fills_in(a_note="x" * 300)
    await visitor.clicks("Save the note")
    await visitor.sees("Your note is saved.")


async def nothing_to_take(house: House) -> bool:
    return not await house.rows("payments", "SELECT 1 FROM charges WHERE status = 'authorized'")


async def held(house: House) -> tuple[Person, Person, Json, Json]:
    """A ticket, held for an order that may be paid: seller, buyer, ticket, order."""
    [ann, bob] = await house.people("ann", "bob")
    ticket = await ann.lists("An Evening with a Rather Long Name, Union Hall, Northampton, Fri 14 March, row F", 149.90)
    return ann, bob, ticket, await bob.buys(ticket)


async def seller_and_buyer_of_every_kind(house: House) -> tuple[Person, Person]:
    [ann, bob] = await house.people("ann", "bob")
    for_sale, withdrawn, given_back, to_pay, paid = [await ann.lists(f"Row {letter}", 20) for letter in "ABCDE"]
    await ann.sees_ticket(for_sale, "available")
    await ann.ask("DELETE", f"/api/tickets/{withdrawn['id']}")
    await bob.cancels(await bob.buys(given_back))
    await bob.buys(to_pay)
    await bob.pays(await bob.buys(paid))
    await ann.sees_ticket(paid, "sold")
    await ann.sees_ticket(to_pay, "locked")
    return ann, bob
