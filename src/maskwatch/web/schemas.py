"""Shapes of requests and answers, for /docs and for programs that are generated from it."""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field

from maskwatch.sinks.event_store import MOST_EVENTS, EventFilter

Label = Literal["with_mask", "without_mask", "mask_worn_incorrectly"]
Verdict = Literal["with_mask", "without_mask", "mask_worn_incorrectly", "uncertain"]

FACE: dict[str, Any] = {
    "box": {"x1": 178.9, "y1": 53.2, "x2": 269.2, "y2": 178.1},
    "label": "with_mask",
    "verdict": "with_mask",
    "score": 0.9179,
    "label_scores": {"with_mask": 0.9179, "without_mask": 0.0, "mask_worn_incorrectly": 0.0002},
}
SUMMARY: dict[str, Any] = {
    "images": 1,
    "failed": 0,
    "faces": 1,
    "with_mask": 1,
    "without_mask": 0,
    "mask_worn_incorrectly": 0,
    "uncertain": 0,
    "compliance": 1.0,
}
ANSWER: dict[str, Any] = {
    "model": {"name": "maskwatch-small", "version": "1", "sha256": "98c4…"},
    "images": [{"name": "door.jpg", "width": 512, "height": 512, "faces": [FACE], "summary": SUMMARY}],
    "summary": SUMMARY,
}
PROBLEM: dict[str, Any] = {
    "type": "about:blank",
    "title": "Content Too Large",
    "status": 413,
    "detail": "door.jpg: 20000×20000 pixels are more than the limit of 50,000,000; scale it down first",
}
JOB: dict[str, Any] = {
    "id": "5Yy0o0m3Jk2Qk1b7vC1x9w",
    "name": "entrance.mp4",
    "state": "running",
    "detail": "",
    "frames": 120,
    "expected": 480,
    "progress": 0.25,
    "fps": 41.5,
    "has_copy": False,
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class Box(BaseModel):
    """Corners in pixels of the picture as it is upright; x2 and y2 are exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float


class Face(BaseModel):
    """One face."""

    model_config = _example(FACE)
    box: Box
    label: Label = Field(description="The likeliest label.")
    verdict: Verdict = Field(description="The label, or `uncertain` where no label is sure enough.")
    score: float = Field(ge=0, le=1, description="How sure the face and its label are.")
    label_scores: dict[Label, float]


class Summary(BaseModel):
    """Counts; compliance is with_mask ÷ faces with a sure verdict, null without one."""

    model_config = _example(SUMMARY)
    images: int
    failed: int
    faces: int
    with_mask: int
    without_mask: int
    mask_worn_incorrectly: int
    uncertain: int
    compliance: Optional[float]


class Problem(BaseModel):
    """What went wrong, as RFC 9457 says it."""

    model_config = _example(PROBLEM)
    type: str
    title: str
    status: int
    detail: str


class ImageFaces(BaseModel):
    """One picture that was looked at."""

    name: str = Field(description="The file's name as it was sent, or empty.")
    width: int
    height: int
    faces: list[Face] = Field(description="Best first.")
    summary: Summary


class ImageProblem(BaseModel):
    """One picture of several that could not be looked at."""

    name: str
    problem: Problem


class ShortCard(BaseModel):
    """Which model answered."""

    name: str
    version: str
    sha256: str


class Answer(BaseModel):
    """All pictures of a request."""

    model_config = _example(ANSWER)
    model: ShortCard
    images: list[Union[ImageFaces, ImageProblem]]
    summary: Summary


class Job(BaseModel):
    """One video on its way."""

    model_config = _example(JOB)
    id: str
    name: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    detail: str = Field(description="Why it failed.")
    frames: int
    expected: Optional[int] = Field(description="Frames in all, where the file says so.")
    progress: Optional[float]
    fps: float
    has_copy: bool


class Jobs(BaseModel):
    """All videos that are kept."""

    videos: list[Job]


class VideoSummary(BaseModel):
    """What was seen in a video."""

    frames: int
    damaged: int
    people: int
    with_mask: int
    without_mask: int
    mask_worn_incorrectly: int
    uncertain: int
    compliance: Optional[float]
    without_mask_s: float
    alerts: int
    elapsed_s: float


class VideoResult(BaseModel):
    """A video that is done."""

    name: str
    width: int
    height: int
    summary: VideoSummary
    events: list[dict[str, Any]] = Field(description="Start, update and end of each visit, in order.")


class Key(BaseModel):
    """The API key, once, for a cookie."""

    key: str


class Health(BaseModel):
    """Whether the server lives, or is ready (KServe V2)."""

    live: Optional[bool] = None
    ready: Optional[bool] = None


class EventQuery(BaseModel):
    """Which events are wanted; what is left out does not matter."""

    since: Optional[float] = Field(None, description="Seconds since 1970, inclusive.")
    until: Optional[float] = Field(None, description="Seconds since 1970, exclusive.")
    camera: list[str] = Field([], description="Name of a camera; may be repeated.")
    kind: list[str] = Field([], description="start, update, end, alert, crossing, lost or back.")
    verdict: list[Verdict] = Field([], description="Of the person; may be repeated.")
    text: str = Field("", max_length=200, description="Part of the message, or of the rule's name.")
    offset: int = Field(0, ge=0, description="So many of the newest are left out.")
    limit: int = Field(200, ge=1, le=MOST_EVENTS, description="At most so many, newest first.")

    def to_filter(self) -> EventFilter:
        """The same for the event store."""
        return EventFilter(
            self.since,
            self.until,
            sources=tuple(self.camera),
            kinds=tuple(self.kind),
            verdicts=tuple(self.verdict),
            text=self.text,
            offset=self.offset,
            limit=self.limit,
        )
