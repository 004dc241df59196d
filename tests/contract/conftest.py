"""Whatever is asked here: the answer is one that the service's OpenAPI document knows."""

from typing import Any

import httpx
import pytest
from support.answers import compare


@pytest.fixture(autouse=True)
def _every_answer_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    send = httpx.AsyncClient.send

    async def send_and_compare(client: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        answer = await send(client, request, **options)
        await answer.aread()
        compare(answer)
        return answer

    monkeypatch.setattr(httpx.AsyncClient, "send", send_and_compare)
