"""`RelayedFeed`: the cameras of a running `maskwatch live`, passed on as they are.

Its address is given when the server is started, never by a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from maskwatch.addresses import redact
from maskwatch.errors import OptionError, ServiceError

ANSWER_WITHIN_S = 5.0
QUIET_FOR_S = 30.0
"""`maskwatch live` says something at least every ten seconds."""
LARGEST_PART = 16 * 2**20


Item = TypeVar("Item")


class RelayedFeed:
    """Passes requests about cameras on to one other maskwatch.

    Raises:
        OptionError: `address` is no http:// or https:// address.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"{redact(address)}: no address of a running maskwatch; write http://HOST:8350")
        self.name = redact(address).rstrip("/")
        timeout = httpx.Timeout(ANSWER_WITHIN_S, read=QUIET_FOR_S)
        self._base = f"{address.rstrip('/')}/v1/cameras"
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    async def state(self) -> bytes:
        """Cameras and alerts as they are now, as JSON."""
        return await self._get("")

    async def history(self) -> bytes:
        """The last hour of each camera, as JSON."""
        return await self._get("/history")

    async def picture(self, number: int) -> bytes:
        """The newest picture of a camera, as JPEG.

        Raises:
            ServiceError: there is none, or nobody answers.
        """
        return await self._get(f"/{number:d}/picture")

    async def news(self) -> AsyncIterator[bytes]:
        """The state, again and again; ends when the other side does."""
        try:
            async with self._client.stream("GET", f"{self._base}/news") as answer:
                self._check(answer)
                async for line in self._until_stopped(answer.aiter_lines()):
                    if line.startswith("data: "):
                        yield line.removeprefix("data: ").encode()
        except httpx.HTTPError:
            return

    async def pictures(self, number: int) -> AsyncIterator[bytes]:
        """JPEGs as they come.

        Raises:
            ServiceError: as `picture`.
        """
        await self.picture(number)
        return self._follow(number)

    def stop(self) -> None:
        """Let all viewers go; called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    async def _until_stopped(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The same items, until `stop` is called."""
        self._loop = asyncio.get_running_loop()
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            while True:
                item = asyncio.ensure_future(anext(items, None))
                try:
                    await asyncio.wait({item, stopped}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not item.done():
                        item.cancel()
                if item.cancelled() or not item.done() or (value := item.result()) is None:
                    return
                yield value
        finally:
            stopped.cancel()

    async def _follow(self, number: int) -> AsyncIterator[bytes]:
        try:
            async with self._client.stream("GET", f"{self._base}/{number:d}/pictures") as answer:
                self._check(answer)
                waiting = b""
                async for chunk in self._until_stopped(answer.aiter_bytes()):
                    waiting += chunk
                    while (part := _first_part(waiting)) is not None:
                        jpeg, waiting = part
                        yield jpeg
                    if len(waiting) > LARGEST_PART:
                        return
        except httpx.HTTPError:
            return

    async def _get(self, path: str) -> bytes:
        try:
            answer = await self._client.get(self._base + path)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"{self.name} does not answer ({type(error).__name__}); is `maskwatch live` running?",
                status=502,
            ) from error
        self._check(answer)
        return answer.content

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code in (403, 404):
            raise ServiceError("there is no such camera, or no picture of it", status=answer.status_code)
        if answer.is_error:
            raise ServiceError(f"{self.name} answered {answer.status_code}", status=502)


def _first_part(waiting: bytes) -> tuple[bytes, bytes] | None:
    """The first whole JPEG of a multipart stream, and what follows it."""
    head, found, rest = waiting.partition(b"\r\n\r\n")
    if not found:
        return None
    size = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        None,
    )
    if size is None or len(rest) < size:
        return None
    return rest[:size], rest[size:]
