"""The callers of `benchmarks.soak`: they load `maskwatch serve` over a bad line, and count each answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from benchmarks.corpus import portrait
from maskwatch.codec import encode_image

PATIENCE_S = 60.0
BURST = 40
TOO_LARGE = 100 * 2**20
BUSY = {429, 503}


@dataclass(frozen=True)
class Upload:
    """One kind of request of pictures.

    Attributes:
        expected: answers that are right, beside 429 and 503, which always are, and 408, as the line is bad.
        faces: how many are found, None where it does not matter.
        pause_s: between its pieces, of which there are ten.
        declared: bytes that are announced; None: as many as are sent.
    """

    kind: str
    body: bytes
    content_type: str
    expected: frozenset[int]
    faces: int | None = None
    pause_s: float = 0.0
    declared: int | None = None


def uploads() -> dict[str, list[Upload]]:
    """Good, bad and slow ones."""
    face, grey = encode_image(portrait(), ".jpg"), encode_image(np.full((240, 320, 3), 90, np.uint8), ".jpg")
    noise = random.Random(1).randbytes(20_000)
    good, bad = frozenset({200}), frozenset({400, 413, 415, 422})
    return {
        "good": [
            Upload("face", face, "image/jpeg", good, faces=1),
            Upload("no face", grey, "image/jpeg", good, faces=0),
        ],
        "bad": [
            Upload("noise", noise, "image/jpeg", bad),
            Upload("cut off", face[: len(face) // 8], "image/jpeg", bad | good),
            Upload("empty", b"", "image/jpeg", bad),
            Upload("of another type", noise, "application/json", bad),
            Upload("no form", noise, "multipart/form-data; boundary=x", bad),
            Upload("too large", noise, "image/jpeg", bad, declared=TOO_LARGE),
        ],
        "slow": [
            Upload("slow", face, "image/jpeg", good, faces=1, pause_s=0.5),
            Upload("never done", face, "image/jpeg", frozenset({408}), pause_s=0.3, declared=len(face) + 1),
        ],
    }


class Callers:
    """Threads that ask again and again until the block is left; `figures` then tells what came of it."""

    def __init__(self, port: int, clip: Path) -> None:
        self.port, self._clip = port, clip.read_bytes()
        self.answers: dict[str, Counter[str]] = {}
        self.wrong: list[str] = []
        self.pages: Counter[str] = Counter()
        self.parts: Counter[str] = Counter()
        self.videos: Counter[str] = Counter()
        self._lock, self._stop = threading.Lock(), threading.Event()
        kinds = uploads()
        jobs: list[Callable[[], object]] = [
            *(lambda: self._upload("good", kinds["good"], 0.3) for _ in range(2)),
            lambda: self._upload("bad", kinds["bad"], 0.3),
            *(lambda: self._upload("slow", kinds["slow"], 0.1) for _ in range(2)),
            lambda: self._burst(kinds["good"]),
            self._pages,
            self._video,
            *(lambda: self._listen("news", "/v1/cameras/news", 0.0) for _ in range(2)),
            lambda: self._listen("pictures", "/v1/cameras/0/pictures", 0.0),
            lambda: self._listen("slowly read pictures", "/v1/cameras/1/pictures", 0.5),
        ]
        self._threads = [threading.Thread(target=self._again, args=(job,), daemon=True) for job in jobs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    def figures(self, cut: int) -> dict[str, Any]:
        """Answers by kind; what came to nothing may be at most as many as the line has `cut`."""
        total: Counter[str] = sum(self.answers.values(), Counter())
        lost = total["no answer"]
        return {
            "uploads": {kind: dict(sorted(counts.items())) for kind, counts in self.answers.items()},
            "sent": total.total(),
            "answered": total.total() - lost,
            "no answer": lost,
            "connections that the line has cut": cut,
            "wrong": self.wrong[:20],
            "unaccounted": max(0, lost - cut) + len(self.wrong),
            "pages": dict(self.pages),
            "streams": dict(self.parts),
            "videos": dict(self.videos),
            "callers that hang": sum(thread.is_alive() for thread in self._threads),
        }

    def _again(self, job: Callable[[], object]) -> None:
        while not self._stop.is_set():
            job()

    def _upload(self, group: str, kinds: Sequence[Upload], pause_s: float) -> None:
        for upload in kinds:
            self._note(group, upload, *self._send(upload))
            if self._stop.wait(pause_s):
                return

    def _burst(self, kinds: Sequence[Upload]) -> None:
        """More at once than the server lets in."""
        if self._stop.wait(20):
            return
        threads = [
            threading.Thread(target=self._upload, args=("burst", kinds[:1], 0.0)) for _ in range(BURST)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, upload: Upload) -> tuple[int, bytes]:
        """Status and body of the answer; status 0 where there is none."""
        try:
            with self._connection() as link:
                link.putrequest("POST", "/v1/detect")
                link.putheader("Content-Type", upload.content_type)
                size = len(upload.body) if upload.declared is None else upload.declared
                link.putheader("Content-Length", str(size))
                link.putheader("Connection", "close")
                link.endheaders()
                # a server that refuses answers before all is sent, and hears no more
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    step = max(1, len(upload.body) // 10)
                    for start in range(0, len(upload.body), step):
                        link.send(upload.body[start : start + step])
                        time.sleep(upload.pause_s)
                answer = link.getresponse()
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    def _note(self, group: str, upload: Upload, status: int, body: bytes) -> None:
        with self._lock:
            counts = self.answers.setdefault(group, Counter())
            counts[str(status) if status else "no answer"] += 1
            if status and status not in upload.expected | BUSY | {408}:
                self.wrong.append(f"{upload.kind}: {status} {body[:200]!r}")
            elif status == 200 and upload.faces is not None:
                found = len(json.loads(body)["images"][0]["faces"])
                if found != upload.faces:
                    self.wrong.append(f"{upload.kind}: {found} faces")

    def _pages(self) -> None:
        """What a dashboard asks."""
        for path in (
            "/dashboard",
            "/v1/cameras",
            "/v1/cameras/history",
            "/v1/events",
            "/v1/compliance",
            "/metrics",
        ):
            status, _ = self._ask("GET", path)
            self.pages[f"{path} {status or 'no answer'}"] += 1
            if self._stop.wait(0.5):
                return

    def _video(self) -> None:
        """Hand in, wait, delete."""
        status, body = self._ask("POST", "/v1/videos?copy=true", self._clip, "video/mp4")
        self.videos[f"handed in: {status or 'no answer'}"] += 1
        if status == 202:
            place = f"/v1/videos/{json.loads(body)['id']}"
            state = "waiting"
            while state in ("waiting", "running") and not self._stop.wait(1):
                status, body = self._ask("GET", place)
                state = json.loads(body)["state"] if status == 200 else state
            self.videos[state] += 1
            while self._ask("DELETE", place)[0] not in (204, 404) and not self._stop.is_set():
                time.sleep(1)
        self._stop.wait(10)

    def _listen(self, name: str, path: str, pause_s: float) -> None:
        """Follow a stream until it ends, and come back."""
        with contextlib.suppress(OSError, http.client.HTTPException), self._connection() as link:
            link.request("GET", path)
            answer = link.getresponse()
            self.parts[f"{name}: {answer.status}"] += 1
            while not self._stop.wait(pause_s) and answer.read1(4096):
                self.parts[f"{name}: pieces"] += 1
        self._stop.wait(1)

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        try:
            with self._connection() as link:
                link.request(method, path, body, {"Content-Type": kind} if kind else {})
                answer = link.getresponse()
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            link.connect()
            yield link
        finally:
            if link.sock is not None:
                with contextlib.suppress(OSError):
                    link.sock.shutdown(socket.SHUT_RDWR)
            link.close()
