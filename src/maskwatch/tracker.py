"""`Tracker`: which face of this frame is which person of the last ones.

A small tracker in the manner of ByteTrack (Zhang et al. 2022): sure detections are joined to
tracks first, weak ones to the tracks left over, by overlap with where each track should be by now.
Faces are small and move fast for their size, so boxes are enlarged before they are compared
(C-BIoU, Yang et al. 2023). Maintained libraries were looked at: supervision's and `trackers` bring
matplotlib or torch along, norfair needs scipy and filterpy; this file needs NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.detections import Detections
from maskwatch.errors import OptionError

FloatArray = npt.NDArray[np.float64]
WEAK_SCORE = 0.15
"""Faces below this score are not even used to continue a track."""


@dataclass(frozen=True)
class TrackOptions:
    """What a tracker can be told.

    Attributes:
        score_threshold: detections from this score on may start a track; weaker ones only continue one.
        confirm_hits: frames with a detection before a track is reported.
        lost_after_s: a track not seen for longer with a sure score is over, however many weak
            detections continued it; in seconds of the source's time.
        buffers: how much boxes are enlarged at each side for the comparison, in shares of their
            size: the first value in the first round, the second for what is left.
        least_iou: overlap of enlarged boxes below which two are never the same face.

    Raises:
        OptionError: a value is out of range.
    """

    score_threshold: float = 0.4
    confirm_hits: int = 2
    lost_after_s: float = 1.5
    buffers: tuple[float, float] = (0.3, 0.8)
    least_iou: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1 or not 0 <= self.least_iou <= 1:
            raise OptionError("score_threshold and least_iou must lie between 0 and 1")
        if self.confirm_hits < 1 or self.lost_after_s <= 0:
            raise OptionError("confirm_hits must be at least 1 and lost_after_s above 0")


@dataclass
class _Track:
    """One face over time: where it was last seen, and how it moves."""

    track_id: int
    state: FloatArray
    """(4,) centre x, centre y, log width, log height."""
    seen_s: float
    row: Detections
    velocity: FloatArray = field(default_factory=lambda: np.zeros(4))
    hits: int = 1
    sure_s: float = 0.0
    """When it was last seen with a sure score."""

    def at(self, pts_s: float) -> FloatArray:
        """(4,) xyxy expected at `pts_s`; a lost face is not followed for ever."""
        ahead_s = min(max(pts_s - self.seen_s, 0.0), 0.7)
        centre = self.state[:2] + self.velocity[:2] * ahead_s
        half = np.exp(self.state[2:] + self.velocity[2:] * min(ahead_s, 0.2)) / 2
        return np.concatenate([centre - half, centre + half])

    def row_at(self, pts_s: float) -> Detections:
        """The last detection, moved to where the face should be at `pts_s`."""
        place = self.at(pts_s)[None].astype(np.float32)
        return replace(self.row, xyxy=place, track_id=np.array([self.track_id]))

    def follow(self, row: Detections, pts_s: float) -> None:
        """Take one more detection; an alpha-beta filter smooths place and speed."""
        elapsed_s = max(pts_s - self.seen_s, 1e-3)
        measured = _state(row.xyxy[0])
        expected = self.state + self.velocity * elapsed_s
        error = measured - expected
        gain = np.array([0.85, 0.85, 0.5, 0.5])
        drift = np.array([0.45, 0.45, 0.05, 0.05])
        self.state = expected + gain * error
        first = self.hits == 1
        self.velocity = (
            (measured - _state(self.row.xyxy[0])) / elapsed_s * [0.8, 0.8, 0, 0]
            if first
            else self.velocity + drift * error / elapsed_s
        )
        self.seen_s, self.row, self.hits = pts_s, row, self.hits + 1


class Tracker:
    """Gives faces ids that stay the same from frame to frame; one tracker a source.

    `update` after each frame that was looked at, `coast` for frames in between.
    """

    def __init__(self, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self._tracks: list[_Track] = []
        self._ids = itertools.count(1)

    def update(self, detections: Detections, pts_s: float) -> Detections:
        """The faces of one frame at `pts_s` seconds with `track_id` set, in the order they came.

        Faces that belong to no reported track are left out: weak ones, and those seen for the first
        time when `confirm_hits` asks for more.
        """
        options = self.options
        sure = detections.score >= options.score_threshold
        taken = np.full(len(detections), -1, dtype=np.int64)
        free = list(range(len(self._tracks)))
        for rows, buffer in (
            (np.flatnonzero(sure), options.buffers[0]),
            (np.flatnonzero(sure), options.buffers[1]),
            (np.flatnonzero(~sure), options.buffers[0]),
        ):
            left = rows[taken[rows] < 0]
            for row, place in self._pairs(detections, left, free, pts_s, buffer):
                taken[row] = place
                free.remove(place)
        ids = np.full(len(detections), -1, dtype=np.int64)
        for row in range(len(detections)):
            if taken[row] >= 0:
                track = self._tracks[taken[row]]
                track.follow(detections[row : row + 1], pts_s)
                if sure[row]:
                    track.sure_s = pts_s
            elif sure[row]:
                one = detections[row : row + 1]
                track = _Track(next(self._ids), _state(one.xyxy[0]), pts_s, one, sure_s=pts_s)
                self._tracks.append(track)
            else:
                continue
            if track.hits >= options.confirm_hits:
                ids[row] = track.track_id
        self._tracks = [track for track in self._tracks if self._goes_on(track, pts_s)]
        return replace(detections, track_id=ids)[ids >= 0]

    def coast(self, pts_s: float) -> Detections:
        """Where the reported faces should be at `pts_s`, for a frame that nobody looked at."""
        return Detections.concatenate([track.row_at(pts_s) for track in self._reported(pts_s)])

    def expected(self, pts_s: float) -> Detections:
        """Where every face that may come back should be at `pts_s`, reported or not, seen just now or not."""
        return Detections.concatenate([track.row_at(pts_s) for track in self._tracks])

    @property
    def live_ids(self) -> frozenset[int]:
        """Ids that may still come back."""
        return frozenset(track.track_id for track in self._tracks if track.hits >= self.options.confirm_hits)

    def _reported(self, pts_s: float) -> Iterator[_Track]:
        newest_s = max((track.seen_s for track in self._tracks), default=pts_s)
        return (
            track
            for track in self._tracks
            if track.hits >= self.options.confirm_hits and track.seen_s == newest_s
        )

    def _goes_on(self, track: _Track, pts_s: float) -> bool:
        """Whether a track may still be continued; an unconfirmed one must be seen every time."""
        if track.hits < self.options.confirm_hits and track.seen_s < pts_s:
            return False
        return pts_s - track.sure_s <= self.options.lost_after_s

    def _pairs(
        self,
        detections: Detections,
        rows: npt.NDArray[np.intp],
        tracks: list[int],
        pts_s: float,
        buffer: float,
    ) -> list[tuple[int, int]]:
        """Best pairs of (row, track) among those that overlap when both are enlarged."""
        if not len(rows) or not tracks:
            return []
        expected = np.stack([self._tracks[track].at(pts_s) for track in tracks])
        overlap = boxes.iou(
            _enlarged(detections.xyxy[rows].astype(np.float64), buffer), _enlarged(expected, buffer)
        ).astype(np.float64)
        pairs = assign(np.where(overlap >= self.options.least_iou, 1 - overlap, 2.0))
        return [
            (int(rows[row]), tracks[column])
            for row, column in pairs
            if overlap[row, column] >= self.options.least_iou
        ]


def assign(cost: FloatArray) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost; every row or every column is used.

    Shortest augmenting paths (Jonker and Volgenant 1987), O(n³).
    """
    if cost.shape[0] > cost.shape[1]:
        return [(row, column) for column, row in assign(cost.T)]
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, dtype=bool)
        row, reached, end = start, 0.0, -1
        before = -1
        while end < 0:
            slack = reached + cost[row] - row_price[row] - column_price
            nearer = ~done & (slack < distance)
            distance[nearer], previous[nearer] = slack[nearer], before
            column = int(np.where(done, np.inf, distance).argmin())
            reached = float(distance[column])
            done[column] = True
            if row_of[column] < 0:
                end = column
            else:
                row, before = int(row_of[column]), column
        used = done.copy()
        used[end] = False
        row_price[start] += reached
        row_price[row_of[used]] += reached - distance[used]
        column_price[used] -= reached - distance[used]
        while end >= 0:  # walk back and shift every row of the path by one
            before = int(previous[end])
            row_of[end] = start if before < 0 else row_of[before]
            end = before
    return sorted((int(row_of[column]), column) for column in range(columns) if row_of[column] >= 0)


def _state(xyxy: npt.NDArray[np.floating]) -> FloatArray:
    size = np.maximum(xyxy[2:] - xyxy[:2], 1.0)
    return np.concatenate([(xyxy[:2] + xyxy[2:]) / 2, np.log(size)]).astype(np.float64)


def _enlarged(xyxy: FloatArray, share: float) -> npt.NDArray[np.float32]:
    grow = (xyxy[:, 2:] - xyxy[:, :2]) * share
    return np.concatenate([xyxy[:, :2] - grow, xyxy[:, 2:] + grow], axis=1).astype(np.float32)
