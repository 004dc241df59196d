"""The stream has the name of its marketplace, and a foreign one is refused in a sentence."""

import asyncio

import nats
import pytest
from support.house import House

from admitone.kit.delivery.bus import MARKETPLACE, STREAM, Bus
from admitone.kit.marketplace import ForeignMarketplace
from admitone.runtime.engines import Engines
from admitone.runtime.programs import free_port


async def stream_anew(engines: Engines, marketplace: str | None) -> None:
    """As a service of that marketplace makes it; of version 0.2, for None."""
    client = await nats.connect(engines.nats_url)
    await client.jetstream().delete_stream(STREAM)
    await client.close()
    async with Bus("orders", engines.nats_url_of("orders"), marketplace=marketplace).connected():
        pass


async def test_a_foreign_stream_is_refused_and_ones_own_is_not(own_house: House) -> None:
    engines = own_house.engines
    async with Bus("orders", engines.nats_url_of("orders")).connected():
        pass
    await stream_anew(engines, "one")
    async with Bus("tickets", engines.nats_url_of("tickets"), marketplace="one").connected() as bus:
        assert (await bus.stream.stream_info(STREAM)).config.metadata[MARKETPLACE] == "one"  # type: ignore[index]
    with pytest.raises(ForeignMarketplace, match=r"stream ADMITONE.*'one'.*'two'"):
        async with Bus("tickets", engines.nats_url_of("tickets"), marketplace="two").connected():
            pass


async def test_a_stream_of_version_0_2_is_anybodys(own_house: House) -> None:
    engines = own_house.engines
    async with Bus("orders", engines.nats_url_of("orders")).connected():
        pass
    await stream_anew(engines, None)
    async with Bus("tickets", engines.nats_url_of("tickets"), marketplace="two").connected():
        pass


async def test_a_second_marketplace_on_the_same_engines_ends_in_a_sentence(own_house: House) -> None:
    await own_house.start()
    other = await asyncio.to_thread(own_house.admitone, "serve", ADMITONE_MARKETPLACE="other", ADMITONE_PORT=str(free_port()))
    assert other.returncode == 1
    assert "belongs to the marketplace 'house', and this one is 'other'" in other.stderr
    assert "Traceback" not in other.stderr
    nameless = await asyncio.to_thread(own_house.admitone, "serve", ADMITONE_MARKETPLACE="")
    assert nameless.returncode == 1
    assert "ADMITONE_MARKETPLACE is missing" in nameless.stderr
    await (await own_house.people("ann"))[0].lists("Front row", 30)  # The first goes on.
