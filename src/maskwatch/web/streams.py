"""`BoardFeed`: a `Board` for any number of viewers in one event loop, with one encode a picture for all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Protocol

from maskwatch.errors import ServiceError
from maskwatch.web.board import NEWS_EVERY_S, SILENCE_S, Board, Picture


class CameraFeed(Protocol):
    """Where the server has its cameras from: its own board, or another maskwatch."""

    async def state(self) -> bytes:
        """Cameras and alerts as they are now, as JSON."""
        ...

    async def history(self) -> bytes:
        """The last hour of each camera, as JSON."""
        ...

    async def picture(self, number: int) -> bytes:
        """The newest picture of a camera, as JPEG.

        Raises:
            ServiceError: there is no such camera, no picture, or pictures are off.
        """
        ...

    def news(self) -> AsyncIterator[bytes]:
        """The state, again and again."""
        ...

    async def pictures(self, number: int) -> AsyncIterator[bytes]:
        """JPEGs as they come.

        Raises:
            ServiceError: as `picture`.
        """
        ...

    def stop(self) -> None:
        """Let all viewers go; called from any thread."""
        ...

    async def close(self) -> None:
        """Release connections, once nobody watches any more."""
        ...


class BoardFeed:
    """The cameras that this process watches."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._changed: asyncio.Event | None = None
        self._encoding: dict[Picture, asyncio.Lock] = {}

    async def state(self) -> bytes:
        """Cameras and alerts as they are now, as JSON."""
        return self.board.state_json()

    async def history(self) -> bytes:
        """Wall time, compliance and people in view of each camera, as JSON."""
        return json.dumps(self.board.history()).encode()

    async def picture(self, number: int) -> bytes:
        """The newest picture of a camera, as JPEG.

        Raises:
            ServiceError: as `CameraFeed.picture`.
        """
        encoded = await self._jpeg(self._picture(number))
        if encoded is None:
            raise ServiceError("this camera has no picture yet", status=404)
        return encoded[1]

    async def news(self) -> AsyncIterator[bytes]:
        """The state, and again whenever it has changed or it has been quiet for long."""
        while self.board.is_open:
            seen = self.board.version
            yield self.board.state_json()
            await asyncio.sleep(NEWS_EVERY_S)
            if self.board.version == seen:
                await self._change(SILENCE_S)

    async def pictures(self, number: int) -> AsyncIterator[bytes]:
        """JPEGs as they come, the last one again where none came for long.

        Raises:
            ServiceError: as `CameraFeed.picture`.
        """
        return self._follow(self._picture(number))

    def stop(self) -> None:
        """Let all viewers go; called from any thread."""
        self.board.close()

    async def close(self) -> None:
        """Nothing is held."""

    async def _follow(self, picture: Picture) -> AsyncIterator[bytes]:
        shown, jpeg = 0, b""
        while self.board.is_open:
            while picture.number <= shown and await self._change(SILENCE_S):
                if not self.board.is_open:
                    return
            encoded = await self._jpeg(picture)
            shown, jpeg = encoded or (shown, jpeg)
            if jpeg:
                yield jpeg

    def _picture(self, number: int) -> Picture:
        if not self.board.shows_pictures:
            raise ServiceError("this camera shows numbers only", status=403)
        picture = self.board.picture(number)
        if picture is None:
            raise ServiceError(f"there is no camera {number}", status=404)
        return picture

    async def _jpeg(self, picture: Picture) -> tuple[int, bytes] | None:
        """Encode in a thread; viewers that come meanwhile wait for the same bytes, not for a thread."""
        async with self._encoding.setdefault(picture, asyncio.Lock()):
            return await asyncio.to_thread(picture.jpeg)

    async def _change(self, timeout_s: float) -> bool:
        """Wait for the board's next news; False if none comes in time."""
        if self._changed is None:
            loop = asyncio.get_running_loop()
            self._changed = asyncio.Event()

            def tell() -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._wake)

            self.board.listen(tell)
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except asyncio.TimeoutError:  # on Python 3.10 not the built-in one
            return False
        return True

    def _wake(self) -> None:
        """Let all go on who wait now; who comes later waits for the next news."""
        assert self._changed is not None
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
