"""`LivePage`: the page that `maskwatch live` opens: the dashboard, without its database.

The standard library's HTTP server is enough for a handful of viewers on one machine, and keeps a
screen-less install small. It hands out the same files and the same JSON as `maskwatch serve`.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from maskwatch.errors import SourceError
from maskwatch.pipeline import LiveStep
from maskwatch.web import files, headers
from maskwatch.web.board import FIRST_BOUNDARY, PICTURES_TYPE, Board, as_event, as_part

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_VIEWERS = 64
_CAMERAS = "/v1/cameras"


class LivePage:
    """Serves the page in threads of its own; a context manager.

    Raises:
        SourceError: the port is taken, or the address is not this machine's.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8350,
        *,
        pictures: bool = True,
        blur: bool = False,
        troubles: Sequence[Callable[[], str]] = (),
    ) -> None:
        """Port 0 takes a free one; without `pictures` only numbers are shown.

        Each of `troubles` gives words about what is not stored now, or "".
        """
        self.board = Board(pictures=pictures, blur=blur, troubles=troubles)

        class Handler(_Handler):
            board = self.board
            checks_host = host in LOOPBACK

        try:
            self._server = _Server((host, port), Handler)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no name of a machine"
            raise SourceError(
                f"the page cannot be served at {host}:{port} ({reason}); choose another --port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, step: LiveStep) -> None:
        """Take news of a camera; returns at once."""
        self.board.show(step)


class _Server(ThreadingHTTPServer):
    """A thread a viewer, for at most `MOST_VIEWERS`; the next one is turned away at once."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._places = threading.BoundedSemaphore(MOST_VIEWERS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is one left."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of one viewer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer's broken request is no news for the operator's terminal."""


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    board: ClassVar[Board]
    checks_host: ClassVar[bool] = True
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "maskwatch", ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer one request; a viewer that goes away ends it."""
        try:
            if self.checks_host and not self._is_for_us():
                self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"open the page by its address, 127.0.0.1\n")
            else:
                self._route(self.path.partition("?")[0].partition("#")[0])
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _route(self, path: str) -> None:
        if path == "/":
            page = files.page("dashboard.html", {"server": "live", "events": "no"})
            self._answer(HTTPStatus.OK, page, files.KINDS[".html"], headers.server_policy())
        elif path == _CAMERAS:
            self._answer(HTTPStatus.OK, self.board.state_json(), "application/json")
        elif path == f"{_CAMERAS}/history":
            self._answer(HTTPStatus.OK, json.dumps(self.board.history()).encode(), "application/json")
        elif path == f"{_CAMERAS}/news":
            self._stream("text/event-stream; charset=utf-8", map(as_event, self.board.news()))
        elif path.startswith(f"{_CAMERAS}/"):
            self._camera(*path.removeprefix(f"{_CAMERAS}/").partition("/")[::2])
        else:
            content = files.content(path[1:]) if path.startswith("/app/") else None
            if content is None:
                self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")
            else:
                self._answer(HTTPStatus.OK, content, files.kind_of(path))

    def _camera(self, number: str, what: str) -> None:
        """A picture of a camera, or all that will come."""
        is_number = number.isascii() and number.isdigit() and len(number) < 6
        picture = self.board.picture(int(number)) if is_number else None
        if not self.board.shows_pictures:
            self._answer(HTTPStatus.FORBIDDEN, b"this camera shows numbers only\n")
        elif picture is not None and what == "pictures":
            parts = map(as_part, self.board.jpegs(picture))
            self._stream(PICTURES_TYPE, chain([FIRST_BOUNDARY], parts))
        elif picture is not None and what == "picture" and (newest := picture.jpeg()) is not None:
            self._answer(HTTPStatus.OK, newest[1], "image/jpeg")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"no such camera, or no picture yet\n")

    def _is_for_us(self) -> bool:
        """Whether the page was asked for by a name of this machine (a guard against DNS rebinding)."""
        host = re.sub(r":\d{1,5}$", "", self.headers.get("Host", "")).lower()
        return host.strip("[]") in LOOPBACK

    def _answer(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str = "text/plain; charset=utf-8",
        policy: str = headers.NOTHING,
    ) -> None:
        self._start(status, kind, policy)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, kind: str, parts: Iterator[bytes]) -> None:
        self._start(HTTPStatus.OK, kind, headers.NOTHING)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()

    def _start(self, status: HTTPStatus, kind: str, policy: str) -> None:
        self.send_response(status)
        for name, value in headers.EVERYWHERE.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", kind)

    def send_error(self, code: int, *_: str | None) -> None:
        """Answer what is no request of ours in plain words, with the headers of every answer."""
        self.close_connection = True
        with contextlib.suppress(OSError, ValueError):
            self._answer(HTTPStatus(code), b"this page only answers GET\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
        """Keep the terminal for the status line."""
