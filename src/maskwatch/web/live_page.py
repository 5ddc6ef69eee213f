"""`LivePage`: the page that `maskwatch live` opens: pictures, counts, compliance over time, alerts.

The standard library's HTTP server is enough for a handful of viewers on one machine, and keeps a
screen-less install small. A picture is drawn and encoded once for all viewers, and only if there
is one.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from maskwatch.annotate import annotate, blur_faces
from maskwatch.codec import encode_image
from maskwatch.detections import Detections
from maskwatch.errors import SourceError
from maskwatch.events import Event
from maskwatch.frames import Image
from maskwatch.pipeline import LiveStep

if TYPE_CHECKING:
    from typing_extensions import Self

ALERTS_KEPT = 50
HISTORY_EVERY_S, HISTORY_KEPT = 2.0, 1800
NEWS_EVERY_S = 0.25
MOST_VIEWERS = 64
SILENCE_S = 10.0
"""A viewer hears something at least this often, so that a dead connection is noticed."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FILES = {
    "/": ("live.html", "text/html; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


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
        self._board = _Board(pictures=pictures, blur=blur, troubles=troubles)

        class Handler(_Handler):
            board = self._board
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
        self._board.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, step: LiveStep) -> None:
        """Take news of a camera; returns at once."""
        self._board.show(step)


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


class _Picture:
    """The newest picture of a camera, encoded when first asked for."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._encoding = threading.Lock()
        self._number = 0
        self._drawing: Callable[[], Image] | None = None
        self._encoded: tuple[int, bytes] = (0, b"")

    def put(self, drawing: Callable[[], Image] | None) -> None:
        """The next picture, or None where there is none."""
        with self._news:
            self._number += 1
            self._drawing = drawing
            self._news.notify_all()

    def jpeg_after(self, number: int, timeout_s: float) -> tuple[int, bytes] | None:
        """Number and bytes of a picture newer than `number`; None if there is none in time."""
        with self._news:
            self._news.wait_for(lambda: self._number > number and self._drawing is not None, timeout_s)
            drawing, newest = self._drawing, self._number
        if drawing is None or newest <= number:
            return None
        with self._encoding:
            if self._encoded[0] < newest:
                self._encoded = (newest, encode_image(drawing(), ".jpg"))
            return self._encoded


class _Board:
    """All that viewers can see, and who is waiting for news."""

    def __init__(self, *, pictures: bool, blur: bool, troubles: Sequence[Callable[[], str]]) -> None:
        self._troubles = troubles
        self.shows_pictures = pictures
        self.is_open = True
        self._blur = blur
        self._news = threading.Condition()
        self._version = 0
        self._cameras: dict[str, dict[str, Any]] = {}
        self._pictures: dict[str, _Picture] = {}
        self._alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS_KEPT)
        self._alert_number = 0
        self._history: dict[str, deque[tuple[float, float | None, int]]] = {}

    def show(self, step: LiveStep) -> None:
        """Take news of a camera."""
        status = step.status
        with self._news:
            self._cameras[step.camera] = status.to_dict()
            picture = self._pictures.setdefault(step.camera, _Picture())
            for event in step.events:
                if isinstance(event, Event) and event.kind in ("alert", "lost", "back"):
                    self._alert_number += 1
                    self._alerts.append({"number": self._alert_number, **event.to_dict()})
            history = self._history.setdefault(step.camera, deque(maxlen=HISTORY_KEPT))
            now = time.time()
            if not history or now - history[-1][0] >= HISTORY_EVERY_S:
                history.append((round(now, 1), status.compliance, status.in_view.faces))
            self._version += 1
            self._news.notify_all()
        if self.shows_pictures:
            picture.put(None if step.frame is None else self._drawing(step.frame.image, step.detections))

    def close(self) -> None:
        """Let waiting viewers go."""
        with self._news:
            self.is_open = False
            self._news.notify_all()

    def state(self) -> dict[str, Any]:
        """Cameras and alerts as they are now."""
        with self._news:
            return {
                "cameras": list(self._cameras.values()),
                "alerts": list(self._alerts),
                "pictures": self.shows_pictures,
                "troubles": [words for trouble in self._troubles if (words := trouble())],
                "now": round(time.time(), 3),
            }

    def history(self) -> dict[str, list[tuple[float, float | None, int]]]:
        """Wall time, compliance and people in view of each camera, every two seconds."""
        with self._news:
            return {name: list(rows) for name, rows in self._history.items()}

    def news(self) -> Iterator[dict[str, Any]]:
        """The state, and again whenever it has changed or it has been quiet for long."""
        while self.is_open:
            seen = self._version
            yield self.state()
            time.sleep(NEWS_EVERY_S)
            self._wait_for_change_of(seen)

    def pictures(self, name: str) -> Iterator[bytes]:
        """JPEGs of one camera as they come; the last one again where none came for long."""
        number, jpeg, picture = 0, b"", self._pictures.get(name)
        while self.is_open and picture is not None:
            number, jpeg = picture.jpeg_after(number, SILENCE_S) or (number, jpeg)
            if jpeg:
                yield jpeg

    def _wait_for_change_of(self, version: int) -> None:
        with self._news:
            self._news.wait_for(lambda: self._version != version or not self.is_open, SILENCE_S)

    def _drawing(self, image: Image, detections: Detections) -> Callable[[], Image]:
        def draw() -> Image:
            return annotate(blur_faces(image, detections) if self._blur else image, detections)

        return draw


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    board: ClassVar[_Board]
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
        if path in _FILES:
            name, kind = _FILES[path]
            content = (resources.files("maskwatch") / "web" / "static" / name).read_bytes()
            self._answer(HTTPStatus.OK, content, kind)
        elif path == "/state":
            self._answer_json(self.board.state())
        elif path == "/history":
            self._answer_json(self.board.history())
        elif path == "/news":
            self._stream("text/event-stream; charset=utf-8", map(_as_event, self.board.news()))
        elif path.startswith("/pictures/"):
            self._pictures(path.removeprefix("/pictures/"))
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")

    def _pictures(self, number: str) -> None:
        names = [camera["name"] for camera in self.board.state()["cameras"]]
        if not self.board.shows_pictures:
            self._answer(HTTPStatus.FORBIDDEN, b"this camera shows numbers only\n")
        elif not (number.isascii() and number.isdigit() and len(number) < 5 and int(number) < len(names)):
            self._answer(HTTPStatus.NOT_FOUND, b"no such camera\n")
        else:
            parts = map(_as_part, self.board.pictures(names[int(number)]))
            self._stream("multipart/x-mixed-replace; boundary=picture", chain([b"--picture\r\n"], parts))

    def _is_for_us(self) -> bool:
        """Whether the page was asked for by a name of this machine (a guard against DNS rebinding)."""
        host = re.sub(r":\d{1,5}$", "", self.headers.get("Host", "")).lower()
        return host.strip("[]") in LOOPBACK

    def _answer_json(self, content: object) -> None:
        self._answer(HTTPStatus.OK, json.dumps(content).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, kind: str, parts: Iterator[bytes]) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {**_HEADERS, "Content-Type": kind, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()

    def send_error(self, code: int, *_: str | None) -> None:
        """Answer what is no request of ours in plain words, with the headers of every answer."""
        self.close_connection = True
        with contextlib.suppress(OSError, ValueError):
            self._answer(HTTPStatus(code), b"this page only answers GET\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
        """Keep the terminal for the status line."""


def _as_event(state: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(state)}\n\n".encode()


def _as_part(jpeg: bytes) -> bytes:
    """A picture and the boundary behind it: browsers show a part once they have seen its end."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n--picture\r\n"
