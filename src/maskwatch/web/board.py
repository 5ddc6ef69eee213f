"""`Board`: what viewers of cameras can see: states, alerts, history and the newest pictures.

Both servers show it, the one behind `maskwatch live` and the one behind `maskwatch serve`, as the same
JSON and the same JPEGs. A picture is drawn and encoded once for all viewers, and only if there is one.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from maskwatch.codec import encode_image
from maskwatch.events import Event
from maskwatch.frames import Image
from maskwatch.pipeline import LiveStep, drawn

ALERTS_KEPT = 50
HISTORY_EVERY_S, HISTORY_KEPT = 2.0, 1800
NEWS_EVERY_S = 0.25
SILENCE_S = 10.0
"""A viewer hears something at least this often, so that a dead connection is noticed."""


class Picture:
    """The newest picture of a camera, encoded when first asked for."""

    def __init__(self) -> None:
        self.encodings = 0
        self._news = threading.Condition()
        self._encoding = threading.Lock()
        self._number = 0
        self._drawing: Callable[[], Image] | None = None
        self._encoded: tuple[int, bytes] = (0, b"")

    @property
    def number(self) -> int:
        """Number of the newest picture; 0 where there is none to be seen."""
        with self._news:
            return 0 if self._drawing is None else self._number

    def put(self, drawing: Callable[[], Image] | None) -> None:
        """The next picture, or None where there is none."""
        with self._news:
            self._number += 1
            self._drawing = drawing
            self._news.notify_all()

    def jpeg(self) -> tuple[int, bytes] | None:
        """Number and bytes of the newest picture; None where there is none."""
        with self._news:
            drawing, newest = self._drawing, self._number
        if drawing is None:
            return None
        with self._encoding:
            if self._encoded[0] < newest:
                self._encoded = (newest, encode_image(drawing(), ".jpg"))
                self.encodings += 1
            return self._encoded

    def jpeg_after(self, number: int, timeout_s: float) -> tuple[int, bytes] | None:
        """Number and bytes of a picture newer than `number`; None if there is none in time."""
        with self._news:
            is_newer = self._news.wait_for(
                lambda: self._number > number and self._drawing is not None, timeout_s
            )
        return self.jpeg() if is_newer else None


class Board:
    """All that viewers can see, and who is waiting for news; safe to use from several threads."""

    def __init__(
        self, *, pictures: bool = True, blur: bool = False, troubles: Sequence[Callable[[], str]] = ()
    ) -> None:
        """Without `pictures` only numbers are shown; with `blur` nobody can be recognised.

        Each of `troubles` gives words about what is not stored now, or "".
        """
        self._troubles = troubles
        self.shows_pictures = pictures
        self.is_open = True
        self.version = 0
        self._blur = blur
        self._news = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._cameras: dict[str, dict[str, Any]] = {}
        self._pictures: dict[str, Picture] = {}
        self._alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS_KEPT)
        self._alert_number = 0
        self._history: dict[str, deque[tuple[float, float | None, int]]] = {}
        self._encoded: tuple[int, bytes] = (-1, b"")

    def show(self, step: LiveStep) -> None:
        """Take news of a camera."""
        status, now = step.status, time.time()
        with self._news:
            before = self._cameras.get(step.camera)
            same = before is not None and before["state"] == status.state
            since = before["since"] if before is not None and same else round(now, 3)
            self._cameras[step.camera] = {**status.to_dict(), "since": since, **self._faces(step)}
            picture = self._pictures.setdefault(step.camera, Picture())
            for event in step.events:
                if isinstance(event, Event) and event.kind in ("alert", "lost", "back"):
                    self._alert_number += 1
                    self._alerts.append({"number": self._alert_number, **event.to_dict()})
            history = self._history.setdefault(step.camera, deque(maxlen=HISTORY_KEPT))
            if not history or now - history[-1][0] >= HISTORY_EVERY_S:
                history.append((round(now, 1), status.compliance, status.in_view.faces))
        if self.shows_pictures:
            picture.put(None if step.frame is None else partial(drawn, step, blur=self._blur))
        self._tell()

    def close(self) -> None:
        """Let waiting viewers go."""
        self.is_open = False
        self._tell()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` at every piece of news, from whatever thread brings it."""
        with self._news:
            self._listeners.append(listener)

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

    def state_json(self) -> bytes:
        """`state` as JSON, encoded once for all viewers."""
        version = self.version
        if self._encoded[0] != version:
            self._encoded = (version, json.dumps(self.state()).encode())
        return self._encoded[1]

    def history(self) -> dict[str, list[tuple[float, float | None, int]]]:
        """Wall time, compliance and people in view of each camera, every two seconds."""
        with self._news:
            return {name: list(rows) for name, rows in self._history.items()}

    def picture(self, number: int) -> Picture | None:
        """Where the pictures of the camera in that place come; None where there is no such camera."""
        with self._news:
            pictures = list(self._pictures.values())
        return pictures[number] if 0 <= number < len(pictures) else None

    def news(self) -> Iterator[bytes]:
        """The state as JSON, and again whenever it has changed or it has been quiet for long."""
        while self.is_open:
            seen = self.version
            yield self.state_json()
            time.sleep(NEWS_EVERY_S)
            with self._news:
                self._news.wait_for(lambda: self.version != seen or not self.is_open, SILENCE_S)  # noqa: B023

    def jpegs(self, picture: Picture) -> Iterator[bytes]:
        """JPEGs of one camera as they come; the last one again where none came for long."""
        number, jpeg = 0, b""
        while self.is_open:
            number, jpeg = picture.jpeg_after(number, SILENCE_S) or (number, jpeg)
            if jpeg:
                yield jpeg

    def _faces(self, step: LiveStep) -> dict[str, Any]:
        """Who is in the picture: nobody's business where only numbers are shown."""
        return {"faces": step.detections.to_dicts()} if self.shows_pictures else {}

    def _tell(self) -> None:
        with self._news:
            self.version += 1
            self._news.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()


def as_event(state: bytes) -> bytes:
    """One server-sent event that holds `state`."""
    return b"data: " + state + b"\n\n"


FIRST_BOUNDARY = b"--picture\r\n"
PICTURES_TYPE = "multipart/x-mixed-replace; boundary=picture"


def as_part(jpeg: bytes) -> bytes:
    """A picture and the boundary behind it: browsers show a part once they have seen its end."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n--picture\r\n"
