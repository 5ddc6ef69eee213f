"""`Client`: ask a `maskwatch serve` from Python; gives the same types as detecting here.

from maskwatch import Client

with Client("http://127.0.0.1:8360") as client:
    faces = client.detect("photo.jpg")
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwatch.codec import ImageSource, encode_image, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import ImageError, MaskwatchError, MissingExtraError, OptionError, ServiceError
from maskwatch.labels import LABELS, VERDICTS
from maskwatch.summary import Summary

if TYPE_CHECKING:
    import httpx
    from typing_extensions import Self

_PICTURE_PROBLEMS = (413, 415, 422)
_MOST_PAUSE_S = 30.0


@dataclass(frozen=True)
class ClientOptions:
    """How patient a client is.

    Attributes:
        timeout_s: how long one answer may take.
        patience_s: how long a busy server is asked again, as often as it says.
        api_key: what the server asks for; None: the environment's MASKWATCH_API_KEY, if it is set.

    Raises:
        OptionError: a time is not above 0.

    Examples:
        >>> from maskwatch import Client, ClientOptions
        >>> with Client("http://127.0.0.1:8360", ClientOptions(timeout_s=120, patience_s=0)) as client:
        ...     len(client.detect("people.jpg"))
        4
    """

    timeout_s: float = 60.0
    patience_s: float = 120.0
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.patience_s < 0:
            raise OptionError("timeout_s must be above 0 and patience_s at least 0")


@dataclass(frozen=True)
class VideoStatus:
    """How a video on the server is doing.

    Attributes:
        job_id: what it is called there.
        state: waiting, running, done, failed or cancelled.
        detail: why it failed.
        frames: frames done so far.
        progress: share that is done, or None where nobody knows.
    """

    job_id: str
    state: str
    detail: str
    frames: int
    progress: float | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")


class Client:
    """A connection to one server; a context manager, to be used from one thread at a time.

    Raises:
        MissingExtraError: httpx is not installed.

    Examples:
        >>> from maskwatch import Client
        >>> with Client("http://127.0.0.1:8360") as client:  # `maskwatch serve` runs there
        ...     faces = client.detect("people.jpg")
        >>> len(faces)
        4
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8360",
        options: ClientOptions | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`transport` takes the network's place in tests."""
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError.for_extra("asking a server", "httpx", "web") from error
        self.url = url.rstrip("/")
        self.options = options or ClientOptions()
        key = self.options.api_key or os.environ.get("MASKWATCH_API_KEY")
        self._http = httpx.Client(
            base_url=self.url,
            timeout=self.options.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def detect(
        self,
        image: ImageSource,
        *,
        score_threshold: float | None = None,
        max_side: int | None = None,
        turned: bool = True,
    ) -> Detections:
        """Faces of one picture, as `Detector.detect` gives them; the keywords are those of `DetectOptions`.

        Raises:
            ImageError: the picture cannot be read, or is more than the server takes.
            ServiceError: the server refuses, or does not answer.
        """
        answer = self._post("/v1/detect", _bytes_of(image), _wishes(score_threshold, max_side, turned))
        return detections_of(answer.json()["images"][0]["faces"])

    def detect_all(
        self,
        images: Sequence[ImageSource],
        *,
        score_threshold: float | None = None,
        max_side: int | None = None,
        turned: bool = True,
    ) -> tuple[list[Detections | MaskwatchError], Summary]:
        """Faces of several pictures in one request, and the summary; an error for each that failed.

        Raises:
            ServiceError: the server refuses, or does not answer.
        """
        files = [("file", (_name_of(image), _bytes_of(image))) for image in images]
        wishes = _wishes(score_threshold, max_side, turned)
        answer = self._ask("POST", "/v1/detect", files=files, params=wishes)
        content = answer.json()
        found = [
            detections_of(one["faces"]) if "faces" in one else _error_of(one["problem"])
            for one in content["images"]
        ]
        return found, _summary_of(content["summary"])

    def annotate(
        self, image: ImageSource, *, blur: bool = False, max_side: int | None = None, turned: bool = True
    ) -> bytes:
        """The picture with boxes drawn on it, as a JPEG; with `blur`, nobody can be recognised.

        Raises:
            ImageError, ServiceError: as `detect`.
        """
        wishes = {**_wishes(None, max_side, turned), "blur": str(blur).lower()}
        return self._post("/v1/detect", _bytes_of(image), wishes, accept="image/jpeg").content

    def model(self) -> dict[str, Any]:
        """The card of the server's model.

        Raises:
            ServiceError: the server refuses, or does not answer.
        """
        return dict(self._ask("GET", "/v1/model").json())

    def is_ready(self) -> bool:
        """Whether a server answers, and can look at pictures."""
        try:
            return bool(self._ask("GET", "/v2/health/ready").json()["ready"])
        except ServiceError:
            return False

    def submit_video(
        self, path: str | os.PathLike[str], *, every: int | None = None, copy: bool = True
    ) -> VideoStatus:
        """Hand in a video; with `copy` an annotated copy is made.

        Every `every`th frame is looked at; None: as many as the server thinks right.

        Raises:
            ImageError: it is no video the server reads, or too large.
            ServiceError: the server refuses, or does not answer.
        """
        wishes = {"copy": str(copy).lower()} | ({} if every is None else {"every": str(every)})
        try:
            with Path(path).open("rb") as video:  # sent as it is read, and again from its start
                files = {"file": (Path(path).name, video)}
                answer = self._ask("POST", "/v1/videos", files=files, params=wishes)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
        return _status_of(answer.json())

    def video(self, job_id: str) -> VideoStatus:
        """How a video is doing.

        Raises:
            ServiceError: there is none of that id, or the server does not answer.
        """
        return _status_of(self._ask("GET", f"/v1/videos/{job_id}").json())

    def wait_for_video(
        self, job_id: str, *, timeout_s: float = math.inf, every_s: float = 0.5
    ) -> VideoStatus:
        """Ask until the video is over.

        Raises:
            ServiceError: not within `timeout_s`, or as `video`.
        """
        deadline = time.monotonic() + timeout_s
        while not (status := self.video(job_id)).is_over:
            if time.monotonic() > deadline:
                raise ServiceError(f"video {job_id}: not done within {timeout_s:g} s")
            time.sleep(every_s)
        return status

    def video_result(self, job_id: str) -> dict[str, Any]:
        """What was seen: `summary` and `events`.

        Raises:
            ServiceError: it is not done, or as `video`.
        """
        return dict(self._ask("GET", f"/v1/videos/{job_id}/result").json())

    def video_copy(self, job_id: str) -> bytes:
        """The annotated copy, as an MP4.

        Raises:
            ServiceError: there is none, or as `video`.
        """
        return self._ask("GET", f"/v1/videos/{job_id}/copy").content

    def delete_video(self, job_id: str) -> None:
        """Cancel a video, or forget it.

        Raises:
            ServiceError: as `video`.
        """
        self._ask("DELETE", f"/v1/videos/{job_id}")

    def _post(
        self, path: str, data: bytes, params: Mapping[str, str], accept: str = "application/json"
    ) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream", "Accept": accept}
        return self._ask("POST", path, content=data, params=dict(params), headers=headers)

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One answer; a busy server is asked again, as late as it says and as long as patience lasts."""
        deadline = time.monotonic() + self.options.patience_s
        while True:
            with _reached(self.url):
                answer = self._http.request(method, path, **request)
            pause_s = min(float(answer.headers.get("retry-after", "1")), _MOST_PAUSE_S)
            is_busy = answer.status_code in (429, 503) and "retry-after" in answer.headers
            if not is_busy or time.monotonic() + pause_s > deadline:
                break
            time.sleep(pause_s)
        if answer.is_error:
            raise _error_of(_problem_in(answer))
        return answer


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """Name the server where it cannot be reached."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ServiceError(f"{url}: no answer ({reason}); is `maskwatch serve` running?") from error


def detections_of(faces: Sequence[Mapping[str, Any]]) -> Detections:
    """What `Detections.to_dicts` wrote."""
    if not faces:
        return Detections.empty()
    return Detections(
        xyxy=np.array(
            [[face["box"][name] for name in ("x1", "y1", "x2", "y2")] for face in faces], np.float32
        ),
        score=np.array([face["score"] for face in faces], np.float32),
        label=np.array([LABELS.index(face["label"]) for face in faces], np.int8),
        label_scores=np.array(
            [[face["label_scores"][name] for name in LABELS] for face in faces], np.float32
        ),
        verdict=np.array([VERDICTS.index(face["verdict"]) for face in faces], np.int8),
        track_id=np.array([face.get("track_id", -1) for face in faces], np.int64),
    )


def _summary_of(values: Mapping[str, Any]) -> Summary:
    return Summary(**{name: value for name, value in values.items() if name != "compliance"})


def _status_of(values: Mapping[str, Any]) -> VideoStatus:
    return VideoStatus(
        values["id"], values["state"], values["detail"], int(values["frames"]), values["progress"]
    )


def _wishes(score_threshold: float | None, max_side: int | None, turned: bool) -> dict[str, str]:
    wishes = {"turned": str(turned).lower()}
    if max_side is not None:
        wishes["max_side"] = str(max_side)
    if score_threshold is not None:
        wishes["score_threshold"] = str(score_threshold)
    return wishes


def _problem_in(answer: httpx.Response) -> dict[str, Any]:
    """The server's own words, or what stood between it and us."""
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        found = dict(answer.json())
    else:
        found = {"status": answer.status_code, "detail": f"{answer.url}: {answer.status_code}"}
    if "retry-after" in answer.headers:
        found["retry_after_s"] = float(answer.headers["retry-after"])
    return found


def _error_of(problem: Mapping[str, Any]) -> MaskwatchError:
    status = int(problem["status"])
    if status in _PICTURE_PROBLEMS:
        return ImageError(problem["detail"])
    return ServiceError(problem["detail"], status=status, retry_after_s=problem.get("retry_after_s"))


def _bytes_of(image: ImageSource) -> bytes:
    """Files as they are; arrays and frames as PNG, which loses nothing."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise ImageError(f"{image}: cannot be read ({error.strerror}); check the path") from error
    return encode_image(read_picture(image).image, ".png")


def _name_of(image: ImageSource) -> str:
    return Path(image).name if isinstance(image, str | os.PathLike) else "picture"
