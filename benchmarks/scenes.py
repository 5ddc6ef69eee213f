"""Scenes with known paths: the public-domain astronaut, bare and masked, walking over a background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

from maskwatch.frames import Image
from maskwatch.synthesis import MaskKind, draw_mask

LANDMARKS = np.array([[200.1, 101.8], [247.1, 102.6], [220.4, 124.5], [198.6, 142.8], [239.7, 143.6]])
FACE_XYXY = np.array([178.2, 62.9, 268.1, 176.2])
CROP = (130, 20, 320, 220)  # left, top, right, bottom of the head in the portrait


def heads() -> list[Image]:
    """Four heads (200, 190, 3): bare, and with three masks."""
    portrait = np.array(data.astronaut())  # type: ignore[no-untyped-call]
    kinds: tuple[MaskKind, ...] = ("surgical", "black", "ffp2")
    drawn = [draw_mask(portrait, LANDMARKS, kind=kind, rng=np.random.default_rng(3)) for kind in kinds]
    left, top, right, bottom = CROP
    return [np.ascontiguousarray(one[top:bottom, left:right]) for one in (portrait, *drawn)]


@dataclass(frozen=True)
class Walker:
    """One person: which head, how large, and where at which time; pauses make occlusions."""

    head: int
    scale: float
    start: tuple[float, float]
    speed: tuple[float, float]
    sway: float = 0.0

    def corner(self, time_s: float) -> npt.NDArray[np.float64]:
        """Left top corner of the head at `time_s`, px."""
        sway = self.sway * np.sin(2 * np.pi * 0.4 * time_s)
        return np.array(self.start) + np.array(self.speed) * time_s + np.array([0.0, sway])

    def face(self, time_s: float) -> npt.NDArray[np.float64]:
        """(4,) xyxy of the face at `time_s`, px."""
        inside = FACE_XYXY - np.tile(CROP[:2], 2)
        return inside * self.scale + np.tile(self.corner(time_s), 2)


@dataclass(frozen=True)
class Scene:
    """Walkers in front of a plain wall; later ones walk in front of earlier ones."""

    size_wh: tuple[int, int]
    walkers: tuple[Walker, ...]
    fps: Fraction
    seconds: float

    def frames(self) -> Iterator[tuple[Image, list[tuple[int, npt.NDArray[np.float64]]]]]:
        """Each frame, and number and face of those whose face can be seen by more than half."""
        scaled = [_scaled(HEADS[walker.head], walker.scale) for walker in self.walkers]
        noise = np.random.default_rng(0)
        width, height = self.size_wh
        wall = np.full((height, width, 3), (150, 145, 140), np.uint8)
        for step in range(round(self.seconds * self.fps)):
            time_s = float(step / self.fps)
            image, owner = wall.copy(), np.full((height, width), -1, np.int16)
            for number, (walker, head) in enumerate(zip(self.walkers, scaled, strict=True)):
                _paste(image, owner, number, head, walker.corner(time_s).round().astype(int))
            image = cv2.add(image, noise.integers(0, 6, image.shape, np.uint8)).astype(np.uint8)
            yield (
                image,
                [
                    (number, walker.face(time_s))
                    for number, walker in enumerate(self.walkers)
                    if _visible(owner, number, walker.face(time_s)) > 0.5
                ],
            )

    def write(self, path: Path) -> Path:
        """As an H.264 file."""
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=self.fps, options={"preset": "veryfast", "crf": "20"})
            stream.width, stream.height = self.size_wh
            stream.pix_fmt = "yuv420p"
            for image, _ in self.frames():
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(stream.encode(None))
        return path


HEADS = heads()


def _scaled(head: Image, scale: float) -> Image:
    return cv2.resize(head, None, fx=scale, fy=scale).astype(np.uint8, copy=False)


def _paste(
    image: Image, owner: npt.NDArray[np.int16], number: int, head: Image, corner: npt.NDArray[np.int64]
) -> None:
    """Put a head into the picture, cut at its borders."""
    height, width = image.shape[:2]
    left, top = max(0, int(corner[0])), max(0, int(corner[1]))
    right, bottom = min(width, int(corner[0]) + head.shape[1]), min(height, int(corner[1]) + head.shape[0])
    if left < right and top < bottom:
        part = head[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
        image[top:bottom, left:right] = part
        owner[top:bottom, left:right] = number


def _visible(owner: npt.NDArray[np.int16], number: int, face: npt.NDArray[np.float64]) -> float:
    """Share of a face's area that nobody stands before and that lies in the picture."""
    x1, y1, x2, y2 = face.round().astype(int)
    seen = owner[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] == number
    return float(seen.sum()) / max(1, (x2 - x1) * (y2 - y1))


def crossing() -> Scene:
    """Six people, of whom pairs cross each other, and one is hidden for a second; 12 s at 15 fps."""
    walkers = (
        Walker(0, 0.7, (20, 40), (70, 0), 6),
        Walker(1, 0.7, (1000, 60), (-70, 0), 6),
        Walker(2, 0.55, (60, 300), (60, 0), 10),
        Walker(0, 0.55, (900, 320), (-62, 0), 10),
        Walker(3, 0.9, (500, 470), (0, 0), 3),
        Walker(1, 0.9, (-260, 480), (100, 0), 4),
    )
    return Scene((1280, 720), walkers, Fraction(15), 12.0)


def crowd(seconds: float = 10.0) -> Scene:
    """Ten people who sway where they stand; 25 fps."""
    walkers = tuple(
        Walker(number % 4, 0.95, (30 + 245 * (number % 5), 60 + 340 * (number // 5)), (2, 0), 8)
        for number in range(10)
    )
    return Scene((1280, 720), walkers, Fraction(25), seconds)
