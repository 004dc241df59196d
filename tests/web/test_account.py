"""The page of one's account: the password, and where one is signed in."""

import re

import httpx
from support.house import House
from web.browser import PASSWORD, Browser, signed_up

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"


async def signed_in_elsewhere(house: House, ann: Browser) -> Browser:
    telephone = Browser(httpx.AsyncClient(base_url=house.url, follow_redirects=True, timeout=20))
    telephone.client.headers["User-Agent"] = IPHONE
    telephone.email = ann.email
    await telephone.open("/signin")
    assert (await telephone.send("/signin", email=ann.email, password=PASSWORD)).status_code == 200
    return telephone


async def test_sessions_are_shown_by_their_browsers_and_ended_one_by_one(house: House) -> None:
    async with signed_up(house.url) as ann:
        telephone = await signed_in_elsewhere(house, ann)
        page = (await ann.client.get("/account")).text
        assert "Safari on an iPhone" in page
        assert page.count("(this one)") == 1
        (end,) = re.findall(r'action="(/account/sessions/[0-9a-f-]{36}/end)"', page)
        answer = await ann.client.post(end, follow_redirects=True)
        assert "You are signed out there." in answer.text
        assert "Safari on an iPhone" not in answer.text
        assert (await telephone.client.post("/api/users/refresh")).status_code == 401
        await telephone.client.aclose()


async def test_signing_out_everywhere_ends_this_one_too(house: House) -> None:
    async with signed_up(house.url) as ann:
        telephone = await signed_in_elsewhere(house, ann)
        answer = await ann.client.post("/account/sessions/end", follow_redirects=True)
        assert "Sign in" in answer.text
        for client in (telephone.client, ann.client):
            assert (await client.post("/api/users/refresh")).status_code == 401
        await telephone.client.aclose()


async def test_a_password_is_changed_and_what_is_wrong_is_beside_its_field(house: House) -> None:
    async with signed_up(house.url) as ann:
        wrong = await ann.client.post("/account/password", data={"currentPassword": "not it", "password": "battery staple"})
        assert wrong.status_code == 400
        assert "That is not your password." in wrong.text
        assert "battery staple" not in wrong.text
        weak = await ann.client.post("/account/password", data={"currentPassword": PASSWORD, "password": "password"})
        assert "This password is easily guessed" in weak.text
        right = {"currentPassword": PASSWORD, "password": "battery staple"}
        answer = await ann.client.post("/account/password", data=right, follow_redirects=True)
        assert "Your password is changed" in answer.text
        again = await ann.client.post("/api/users/signin", json={"email": ann.email, "password": "battery staple"})
        assert again.status_code == 200


async def test_a_stranger_is_led_to_sign_in(house: House) -> None:
    stranger = Browser(httpx.AsyncClient(base_url=house.url, follow_redirects=True, timeout=20))
    answer = await stranger.client.get("/account", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/account")
    await stranger.client.aclose()
