"""The application, and the task that publishes its outbox to NATS JetStream."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import nats
import nats.errors
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nats.js import JetStreamContext
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from .database import Base, OutboxEvent, engine, new_session, utc_now
from .routes import router


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    bus = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    await bus.jetstream().add_stream(name="CONVENTIONAL", subjects=["conventional.>"])
    publisher = asyncio.create_task(publish_outbox(bus.jetstream()))
    yield
    publisher.cancel()
    await asyncio.gather(publisher, return_exceptions=True)
    await bus.close()
    await engine.dispose()


async def publish_outbox(stream: JetStreamContext) -> None:
    """Publish one event after the other. One that was published but not marked is sent again, and the stream drops it by its id."""
    unpublished = select(OutboxEvent).where(OutboxEvent.published_at.is_(None)).order_by(OutboxEvent.id).limit(100)
    while True:
        try:
            async with new_session() as session:
                events = (await session.scalars(unpublished)).all()
                for event in events:
                    event_id = str(event.event_id)
                    message = {"event_id": event_id, "event": event.event, "time": event.created_at.isoformat(), "data": event.data}
                    payload = json.dumps(message).encode()
                    await stream.publish(f"conventional.orders.{event.event}", payload, headers={"Nats-Msg-Id": event_id})
                    event.published_at = utc_now()
                    await session.commit()
            if not events:
                await asyncio.sleep(0.1)
        except (nats.errors.Error, SQLAlchemyError, OSError):
            logging.exception("The outbox can't be published; trying again in a second.")
            await asyncio.sleep(1)


app = FastAPI(title="Ticket resale, conventionally", lifespan=lifespan)
app.include_router(router)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.exception_handler(HTTPException)
async def refused(_request: Request, error: HTTPException) -> JSONResponse:
    """An error as RFC 9457 has it."""
    title = HTTPStatus(error.status_code).phrase
    document = {"type": "about:blank", "title": title, "status": error.status_code, "detail": error.detail}
    return JSONResponse(document, error.status_code, error.headers, media_type="application/problem+json")


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return await refused(request, HTTPException(400, "; ".join(f"{wrong['loc'][-1]}: {wrong['msg']}" for wrong in error.errors())))
