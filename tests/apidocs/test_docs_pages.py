"""The pages at /docs, as a browser without JavaScript gets them."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from support.house import House

from admitone.apidocs.overview import fields, sentence
from admitone.kit.event import CATALOGUE, LISTENERS, OWNERS, subject
from admitone.runtime.dispatcher import DOCS, Dispatcher
from admitone.runtime.gateway import Gateway

ROOT = Path(__file__).parents[2]
PATHS = ["/docs", "/docs/events", "/docs/asyncapi.json"]


def client(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here")  # type: ignore[arg-type]


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


async def events_page() -> str:
    async with client(Dispatcher()) as here:
        return (await here.get("/docs/events")).text


@pytest.mark.parametrize("path", PATHS)
async def test_processes_and_the_gateway_serve_the_documentation_pages(house: House, path: str) -> None:
    async with client(Dispatcher()) as process, client(Gateway({}, httpx.AsyncClient(), ())) as gateway, httpx.AsyncClient() as browser:
        answers = [await process.get(path), await gateway.get(path), await browser.get(house.url + path)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].content == answers[1].content == answers[2].content
    assert {answer.headers["content-type"] for answer in answers} == {
        "application/json" if path.endswith(".json") else "text/html; charset=utf-8"
    }


async def test_the_list_names_every_page_and_each_answers() -> None:
    async with client(Dispatcher()) as here:
        listed = [href for href in Reader((await here.get("/docs")).text).all("href") if href.startswith("/docs/")]
        assert {"/docs/events", "/docs/asyncapi.json"} | {f"/docs/{service.name}" for service in DOCS.apis} <= set(listed)
        for href in listed:
            assert (await here.get(href)).status_code == 200, href


async def test_the_document_for_tools_is_the_one_in_docs() -> None:
    async with client(Dispatcher()) as here:
        assert (await here.get("/docs/asyncapi.json")).text == (ROOT / "docs" / "asyncapi.json").read_text(), "run `make docs`"


async def test_the_page_runs_no_script_and_may_not() -> None:
    async with client(Dispatcher()) as here:
        answer = await here.get("/docs/events")
        page = Reader(answer.text)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert not [tag for tag, attributes in page.tags if tag in ("script", "style") or any(name.startswith("on") for name in attributes)]
        assert page.all("style") == []
        styles = [attributes["href"] for tag, attributes in page.tags if tag == "link" and attributes["rel"] == "stylesheet"]
        assert len(styles) == 2
        for style in styles:
            assert (await here.get(style)).headers["content-type"] == "text/css; charset=utf-8"
        for file in re.findall(r'url\("([^"]+)"\)', (await here.get(styles[0])).text):
            assert (await here.get(f"/docs/static/{file}")).headers["content-type"] == "font/woff2"
        assert not [href for href in page.all("href") if "//" in href], "nothing comes from elsewhere"


async def test_every_link_within_the_page_leads_to_one_place_in_it() -> None:
    page = Reader(await events_page())
    places = page.all("id")
    assert len(places) == len(set(places))
    links = {href[1:] for href in page.all("href") if href.startswith("#")}
    assert links <= set(places), links - set(places)
    assert set(CATALOGUE) | {f"{listener}-{name}" for name, event in CATALOGUE.items() for listener in LISTENERS[event]} <= links


@pytest.mark.parametrize("name", CATALOGUE)
async def test_an_event_is_told_whole(name: str) -> None:
    event = CATALOGUE[name]
    told = re.search(rf'<article aria-labelledby="{name}">.*?</article>', await events_page(), re.S)
    assert told
    plain = " ".join(unescape(re.sub("<[^>]+>", "", told[0])).split())
    assert sentence(event) in plain
    assert f"Said by {OWNERS[event]} on {subject(event)}" in plain
    for listener, handler in LISTENERS[event].items():
        assert f'href="#{listener}-{name}"' in told[0]
        assert sentence(handler) in plain
    for field in fields(event):
        assert f"{field.name} {field.type} {field.meaning.replace('`', '')}".strip() in plain
    assert f'"event": "{name}"' in plain


async def test_the_picture_has_an_arrow_for_each_who_listens_wide_and_narrow() -> None:
    page = Reader(await events_page())
    arrows = [attributes["marker-end"] for _, attributes in page.tags if "marker-end" in attributes]
    heard = sum(len(listeners) for listeners in LISTENERS.values())
    assert sorted(arrows) == ["url(#arrow-narrow)"] * heard + ["url(#arrow-wide)"] * heard


async def test_it_is_only_looked_at_and_takes_no_path_that_is_not_its_own() -> None:
    async with client(Dispatcher()) as here:
        sent = await here.post("/docs/events")
        assert (sent.status_code, sent.headers["allow"]) == (405, "GET, HEAD")
        assert [(await here.get(path)).status_code for path in ("/docs/nowhere", "/docsify", "/docs/static/nothing.css")] == [404] * 3
