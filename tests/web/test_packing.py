"""What goes over the wire is packed, where that is safe and where it can be unpacked."""

import httpx
import pytest
from support.house import House
from web.browser import signed_up, visitor
from web.watcher import watching

from admitone.web.static import FILES, STATIC

BROWSERS = "gzip, deflate, br, zstd"


@pytest.mark.parametrize("name", sorted(FILES.files))
async def test_every_static_file_comes_whole_packed_or_not(house: House, name: str) -> None:
    content = (STATIC / name).read_bytes()
    async with httpx.AsyncClient(base_url=house.url) as client:
        packed = await client.get(f"/static/{name}", headers={"Accept-Encoding": BROWSERS})
        plain = await client.get(f"/static/{name}", headers={"Accept-Encoding": "br, gzip;q=0"})
    assert (packed.content, plain.content) == (content, content)
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert packed.headers["content-type"].count("charset") <= 1
    if name.endswith((".js", ".css", ".svg")):
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css", "image/svg+xml")


async def test_a_strangers_page_is_packed_and_one_with_a_name_on_it_is_not(house: House) -> None:
    async with visitor(house.url) as stranger, signed_up(house.url) as ann:
        answer = await stranger.client.get("/?q=x", headers={"Accept-Encoding": BROWSERS})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text.startswith("<!doctype html>")
        assert "content-encoding" not in (await stranger.client.get("/?q=x", headers={"Accept-Encoding": "identity"})).headers
        answer = await ann.client.get("/?q=x", headers={"Accept-Encoding": BROWSERS})
        assert ann.email in answer.text
        assert "content-encoding" not in answer.headers


async def test_an_event_stream_is_not_packed_or_it_would_be_kept_until_there_is_more(house: House) -> None:
    async with visitor(house.url) as stranger, watching(stranger, "/") as it:
        assert "content-encoding" not in it.answer.headers
        await it.beat()


async def test_through_the_gateway_nobody_gets_what_they_cannot_unpack(own_house: House) -> None:
    await own_house.start_six()
    async with httpx.AsyncClient(base_url=own_house.url) as client:
        del client.headers["Accept-Encoding"]
        for path in ("/", "/static/style.css"):
            async with client.stream("GET", path) as plain, client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
                assert "content-encoding" not in plain.headers
                assert packed.headers["content-encoding"] == "gzip"
