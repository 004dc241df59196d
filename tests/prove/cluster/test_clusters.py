"""Engines that are several servers: one of them dies, and sales go on."""

from pathlib import Path

from support.bus_users import ANOTHERS, as_user
from support.house import House, eventually
from support.nats_cluster import nats_cluster
from support.sales import sells
from support.standby import standby_of

from admitone.config import SERVICES_WITH_A_DATABASE
from admitone.kit.delivery.bus import STREAM
from admitone.kit.event import OWNERS, subject
from admitone.runtime.nats_users import USERS


async def test_sales_go_on_while_one_nats_server_of_three_is_killed_after_the_other(own_house: House, tmp_path: Path) -> None:
    with nats_cluster(tmp_path) as cluster:
        own_house.settings |= cluster.settings
        await own_house.start()
        ann, bob = await own_house.people("ann", "bob")
        await sells(ann, bob)
        stream = await cluster.stream()
        assert stream is not None
        assert stream.config.num_replicas == 3
        for _ in range(2):
            leader = await cluster.leader()
            cluster.kill(leader)
            await sells(ann, bob)
            cluster.start(leader)
            await cluster.leader()
        await own_house.at_rest(seconds=60)
        checked = own_house.admitone("verify", "--wait")
        assert checked.returncode == 0, checked.stdout
    for service in SERVICES_WITH_A_DATABASE:
        assert await own_house.rows(service, "SELECT event, error FROM parked") == []
    assert "ermissions" not in own_house.log(), own_house.log()


async def test_a_user_of_the_cluster_may_say_and_change_only_what_is_its_own(own_house: House, tmp_path: Path) -> None:
    with nats_cluster(tmp_path) as cluster:
        own_house.settings |= cluster.settings
        await own_house.start()
        ann, bob = await own_house.people("ann", "bob")
        await sells(ann, bob)
        await own_house.at_rest(seconds=60)
        before = await cluster.stream()
        assert before is not None
        for name in USERS:
            other = ANOTHERS[name]
            foreign = subject(next(event for event, owner in OWNERS.items() if owner == other))
            stream = [f"$JS.API.STREAM.{call}.{STREAM}" for call in ("UPDATE", "DELETE", "PURGE", "MSG.DELETE")]
            consumer = [f"$JS.API.CONSUMER.{call}.{STREAM}.{other}" for call in ("CREATE", "DELETE", "MSG.NEXT")]
            async with as_user(cluster.url_of(name), name) as it:
                for wanted in (foreign, *stream, *consumer, f"$JS.ACK.{STREAM}.{other}.1.1.1.1.1"):
                    await it.client.publish(wanted, b"{}", reply=it.client.new_inbox())
                    assert wanted.lower() in await it.is_refused()
        after = await cluster.stream()
        assert after is not None
        assert (after.state.messages, after.state.consumer_count) == (before.state.messages, before.state.consumer_count)


async def test_sales_go_on_when_a_standby_takes_the_place_of_a_killed_postgresql(own_house: House) -> None:
    async with standby_of(own_house.engines) as standby:
        own_house.settings["DATABASE_URL"] = standby.both
        await own_house.start()
        ann, bob = await own_house.people("ann", "bob")
        await sells(ann, bob)
        await standby.takes_over()

        async def answers() -> bool:
            return (await ann.ask("POST", "/api/tickets", {"title": "Asked too early", "price": 30})).status_code == 201

        await eventually(answers, seconds=30)
        await sells(ann, bob)
        checked = own_house.admitone("verify", "--wait")
        assert checked.returncode == 0, checked.stdout
