"""/v1/cameras, /v1/events and /v1/compliance: what the dashboard shows, for other programs, too."""

import asyncio
import contextlib
import csv
import io
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timezone
from itertools import chain, islice
from typing import Annotated, Any, Optional

from fastapi import APIRouter, Query
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from maskwatch.errors import ServiceError, SourceError
from maskwatch.events import Event
from maskwatch.sinks.event_store import EventStore
from maskwatch.web.board import FIRST_BOUNDARY, PICTURES_TYPE, as_event, as_part
from maskwatch.web.schemas import EventQuery
from maskwatch.web.service import Service
from maskwatch.web.streams import CameraFeed

ROWS_AT_ONCE = 500
_COLUMNS = tuple(field.name for field in fields(Event))
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def camera_routes(service: Service) -> APIRouter:
    """Routes on the cameras' feed."""
    router = APIRouter(tags=["cameras"], prefix="/v1/cameras")

    def feed() -> CameraFeed:
        if service.cameras is None:
            raise ServiceError("no cameras here; start with --source or --live", status=404)
        return service.cameras

    @router.get("", summary="Cameras and alerts as they are now", response_class=Response)
    async def state() -> Response:
        return Response(await feed().state(), media_type="application/json")

    @router.get("/history", summary="Time, compliance and people of the last hour", response_class=Response)
    async def history() -> Response:
        return Response(await feed().history(), media_type="application/json")

    @router.get("/news", summary="The state as server-sent events", response_class=StreamingResponse)
    async def news() -> Response:
        return _stream((as_event(state) async for state in feed().news()), "text/event-stream")

    @router.get("/{number}/picture", summary="The newest picture (JPEG)", response_class=Response)
    async def picture(number: int) -> Response:
        return Response(await feed().picture(number), media_type="image/jpeg")

    @router.get(
        "/{number}/pictures", summary="Pictures as they come (MJPEG)", response_class=StreamingResponse
    )
    async def pictures(number: int) -> Response:
        return _stream(_parts(await feed().pictures(number)), PICTURES_TYPE)

    return router


def event_routes(service: Service) -> APIRouter:
    """Routes on the event store."""
    router = APIRouter(tags=["events"], prefix="/v1")

    def store() -> EventStore:
        if service.events is None:
            raise ServiceError(
                "no events are kept here; start with --source, or --events FILE.db", status=404
            )
        return service.events

    @router.get("/events", summary="Events, newest first", response_class=JSONResponse)
    async def events(query: Annotated[EventQuery, Query()]) -> Response:
        def read() -> dict[str, Any]:
            kept, wanted = store(), query.to_filter()
            return {"total": kept.count(wanted), "events": list(kept.events(wanted))}

        with _reachable():
            return JSONResponse(await asyncio.to_thread(read))

    @router.get("/events.csv", summary="Events as CSV", response_class=StreamingResponse)
    async def table(query: Annotated[EventQuery, Query()]) -> Response:
        def begin() -> Iterator[bytes]:
            rows = store().events(query.to_filter())
            first = list(islice(rows, ROWS_AT_ONCE))  # after the answer's head no error could be told
            return _csv(chain(first, rows))

        with _reachable():
            rows = await asyncio.to_thread(begin)
        name = f"maskwatch-events-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(iterate_in_threadpool(rows), 200, headers, "text/csv; charset=utf-8")

    @router.get("/compliance", summary="Compliance over time, by camera", response_class=JSONResponse)
    async def compliance(
        hours: Annotated[float, Query(gt=0, le=24 * 366)] = 24,
        stretch_s: Annotated[
            Optional[float], Query(ge=1, description="Seconds that one value covers.")
        ] = None,
    ) -> Response:
        """Values are [begin of the stretch, share or null, most people at once]."""
        until = time.time()
        width_s = stretch_s or max(60.0, hours * 3600 / 300)
        with _reachable():
            shares = await asyncio.to_thread(store().shares, until - hours * 3600, until, width_s)
        return JSONResponse({"stretch_s": width_s, "cameras": shares})

    return router


@contextlib.contextmanager
def _reachable() -> Iterator[None]:
    """A database that is away is no fault of the caller's, and may be back soon."""
    try:
        yield
    except SourceError as error:
        raise ServiceError(str(error), status=503, retry_after_s=5) from error


async def _parts(jpegs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield FIRST_BOUNDARY
    async for jpeg in jpegs:
        yield as_part(jpeg)


def _stream(parts: AsyncIterator[bytes], kind: str) -> Response:
    return StreamingResponse(parts, headers={"X-Accel-Buffering": "no"}, media_type=kind)


def _csv(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Rows in portions; text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    yield _lines([dict(zip(_COLUMNS, _COLUMNS, strict=True))])
    while rows := list(islice(events, ROWS_AT_ONCE)):
        yield _lines({name: _harmless(value) for name, value in row.items()} for row in rows)


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.DictWriter(buffer, _COLUMNS, restval="", extrasaction="ignore", lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
