"""The embedded engines start wherever the data folder is."""

import asyncpg
import pytest
from conftest import reachable
from nats.aio.client import Client

from admitone.runtime.engines import Engines


async def test_engines_start_in_a_folder_with_blanks_quotes_and_any_letters(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = reachable(tmp_path_factory.mktemp("data")) / "Zürich # 'dev' \"é\" 東京"
    folder.mkdir()
    engines = Engines(folder, lambda line: None, durable=False)
    try:
        engines.start()
        await engines.ready()
        connection = await asyncpg.connect(engines.database_url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        client = Client()
        await client.connect(engines.nats_url, allow_reconnect=False)
        await client.jetstream().account_info()
        await client.close()
    finally:
        engines.stop()
