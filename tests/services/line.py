"""`Line`: a bad network between a program and a server: late, thin, silent, cut in mid-message."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from typing_extensions import Self

CHUNK = 16_384
MOST_UNDER_WAY = 64
"""Pieces that are on their way at a time; whoever sends more has to wait, as on a real line."""
STEP_S = 0.1
"""A thin line passes what is due ten times a second."""
_RESET = struct.pack("ii", 1, 0)


class Line:
    """Passes TCP connections on from a port of its own to `target_port` on loopback; a context manager.

    All of its values may be changed while it runs, from any thread.

    Attributes:
        port: where programs connect.
        delay_s: how much later each byte arrives, in both directions.
        bytes_per_s: at most so many in each direction of a connection; None: any number.
        is_silent: nothing arrives, connections stay open, and new ones hear nothing.
        is_closed: new connections are reset at once.
        cut_after: a connection is reset when so many bytes have passed it in one direction, the last
            message half delivered; None: never.
        opened, cut: connections so far, and how many of them were reset by this line.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.is_silent = False
        self.is_closed = False
        self.cut_after: int | None = None
        self.opened = self.cut = 0
        self._open: set[_Connection] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="line", daemon=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def reset(self) -> None:
        """Cut all connections that are open."""

        async def cut_all() -> None:
            for connection in tuple(self._open):
                connection.cut()

        asyncio.run_coroutine_threadsafe(cut_all(), self._loop).result(10)

    @contextlib.contextmanager
    def being(self, **values: object) -> Iterator[None]:
        """The line with other values for a while, e.g. `being(delay_s=0.5)`."""
        before = {name: getattr(self, name) for name in values}
        for name, value in values.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, sock=self._socket)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in tuple(self._open):
            connection.close()
        await asyncio.sleep(0.05)  # closed transports say so in a later turn of the loop

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        connection = _Connection(self, writer)
        self._open.add(connection)
        try:
            if self.is_closed:
                connection.cut()
                return
            while self.is_silent:
                await asyncio.sleep(0.05)
            try:
                there_reader, there = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:
                connection.cut()
                return
            connection.ends.append(there)
            await asyncio.gather(connection.carry(reader, there), connection.carry(there_reader, writer))
        except asyncio.CancelledError:
            pass  # the line is taken down
        finally:
            connection.close()
            self._open.discard(connection)


class _Connection:
    """Both ends of one connection, and what is under way between them."""

    def __init__(self, line: Line, here: asyncio.StreamWriter) -> None:
        self._line, self.ends = line, [here]
        self._is_cut = False

    def cut(self) -> None:
        """Reset it: what is under way is lost."""
        if self._is_cut:
            return
        self._is_cut = True
        self._line.cut += 1
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()

    def close(self) -> None:
        """Close both ends."""
        for end in self.ends:
            end.transport.abort() if self._is_cut else end.close()

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One direction, to its end; the other one goes on, as an answer may still be under way there."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_UNDER_WAY)
        delivering = asyncio.ensure_future(self._deliver(under_way, target))
        try:
            while data := await _read(source):
                await under_way.put((time.monotonic() + self._line.delay_s, data))
            await under_way.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(
        self, under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
    ) -> None:
        line, passed, hears = self._line, 0, True
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while line.is_silent:
                await asyncio.sleep(0.05)
            if not data:
                with contextlib.suppress(OSError):
                    target.write_eof()
                return
            cut_after = line.cut_after
            rest = len(data) if cut_after is None else max(0, cut_after - passed)
            try:
                if hears:
                    await self._write(target, data[:rest])
            except OSError:
                hears = False  # what still comes is thrown away
            if rest < len(data):
                await asyncio.sleep(0.02)  # the half is out before the reset
                self.cut()
                return
            passed += len(data)

    async def _write(self, target: asyncio.StreamWriter, data: bytes) -> None:
        """At the line's pace, which may change under way."""
        while data:
            rate = self._line.bytes_per_s
            size = len(data) if rate is None else max(1, int(rate * STEP_S))
            if rate is not None:
                await asyncio.sleep(min(size, len(data)) / rate)
            target.write(data[:size])
            await target.drain()
            data = data[size:]


async def _read(source: asyncio.StreamReader) -> bytes:
    """The next piece; nothing at the end, and where the other side has gone."""
    try:
        return await source.read(CHUNK)
    except OSError:
        return b""
