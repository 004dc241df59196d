"""Whatever a page shows: it fits a phone, and people who don't see it well, or not at all, can use it."""

from pathlib import Path
from typing import Literal

import pytest
from browser.conftest import Visit
from browser.scenes import SCENES
from browser.visitor import Visitor
from support.house import House, Person

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
NARROW, WIDE = (390, 844), (1280, 900)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


BEYOND_THE_EDGE = """() => [...document.querySelectorAll("body *")]
    .filter(element => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => "beyond the edge of a phone: " + element.outerHTML.slice(0, 150))"""


@pytest.mark.parametrize("scene", SCENES)
async def test_a_page_fits_a_phone_and_axe_finds_no_fault(scene: str, house: House, visit: Visit) -> None:
    visitor = await played(scene, house, visit)
    faults = await sideways(visitor)
    await resize(visitor, WIDE)
    for scheme in SCHEMES:
        await visitor.page.emulate_media(color_scheme=scheme)
        faults += await faults_of(visitor, scheme)
    assert not faults, "\n".join(faults)


async def played(scene: str, house: House, visit: Visit) -> Visitor:
    """The visitor at the end of that scene, with a phone."""
    seen: list[Visitor] = []

    async def begin(who: Person | None = None) -> Visitor:
        seen.append(await visit(who))
        await resize(seen[-1], NARROW)
        return seen[-1]

    await SCENES[scene](house, begin)
    return seen[-1]


async def sideways(visitor: Visitor) -> list[str]:
    """What makes people scroll sideways, or is cut off."""
    width = await visitor.page.evaluate("document.documentElement.scrollWidth")
    scrolls = [f"the page is {width} pixels wide, the phone {NARROW[0]}"] if width > NARROW[0] else []
    beyond: list[str] = await visitor.page.evaluate(BEYOND_THE_EDGE)
    return scrolls + beyond


async def resize(visitor: Visitor, size: tuple[int, int]) -> None:
    await visitor.page.set_viewport_size({"width": size[0], "height": size[1]})


async def faults_of(visitor: Visitor, scheme: str) -> list[str]:
    """A line for each element that breaks one of axe's rules."""
    await visitor.page.evaluate(AXE)
    found = await visitor.page.evaluate("axe.run()")
    return [
        f"{scheme}: {violation['id']} ({violation['impact']}): {node['html'][:150]}: {' '.join(node['failureSummary'].split())}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
