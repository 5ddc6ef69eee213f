"""A face's own frame: (u, v) to pixels and back, and outlines in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwatch.errors import OptionError

FloatArray = npt.NDArray[np.float32]


def canonical_landmarks(xyxy: FloatArray) -> FloatArray:
    """Five landmarks (5, 2) of an upright frontal face that fills the box `xyxy` (4,)."""
    share = np.array([[0.31, 0.39], [0.69, 0.39], [0.5, 0.58], [0.35, 0.77], [0.65, 0.77]])
    left_top, size_wh = xyxy[:2], xyxy[2:] - xyxy[:2]
    return np.asarray(left_top + share * size_wh, dtype=np.float32)


@dataclass(frozen=True)
class FaceFrame:
    """Maps (u, v) of one face to pixels: origin between the eyes, plus the shift of a turned head."""

    origin: FloatArray
    across: FloatArray
    down: FloatArray
    turn: float

    @classmethod
    def from_landmarks(cls, landmarks: FloatArray) -> FaceFrame:
        """The frame of a face with landmarks (5, 2) px.

        Raises:
            OptionError: they are no upright face's.
        """
        points = np.asarray(landmarks, dtype=np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise OptionError(f"landmarks have shape {points.shape}; five points (x, y) are needed")
        right_eye, left_eye, nose, right_mouth, left_mouth = points
        origin = (right_eye + left_eye) / 2
        down = (right_mouth + left_mouth) / 2 - origin
        across = ((left_eye - right_eye) + (left_mouth - right_mouth) * 1.15) / 2
        height = float(np.hypot(*down))
        width = float(np.hypot(*across))
        if height < 1.0:
            raise OptionError("landmarks put the eyes on the mouth; they are no upright face's")
        if width < 0.45 * height:  # a profile: the eyes nearly coincide, the head's breadth does not
            sideways = np.array([down[1], -down[0]], dtype=np.float32) / height
            across = sideways * 0.45 * height * (1.0 if across @ sideways >= 0 else -1.0)
            width = 0.45 * height
        expected_nose = origin + 0.6 * down
        turn = float((nose - expected_nose) @ across) / width**2
        return cls(origin, across, down, float(np.clip(turn, -0.6, 0.6)))

    def to_pixels(self, uv: npt.NDArray[np.floating]) -> FloatArray:
        """Pixels (n, 2) of points (n, 2) in (u, v)."""
        bulge = self.turn * np.clip(1 - (uv[:, 0:1] / 1.15) ** 2, 0, 1)
        along = uv[:, 0:1] + bulge
        points = self.origin + along * self.across + uv[:, 1:2] * self.down
        return np.asarray(points, dtype=np.float32)

    def grid(self, left: int, top: int, width: int, height: int) -> tuple[FloatArray, FloatArray]:
        """U and v, each (height, width), at the pixels of a window (the turn is left out)."""
        matrix = np.linalg.inv(np.stack([self.across, self.down], axis=1).astype(np.float64))
        x, y = np.meshgrid(np.arange(width) + left + 0.5, np.arange(height) + top + 0.5)
        x, y = x - self.origin[0], y - self.origin[1]
        u = matrix[0, 0] * x + matrix[0, 1] * y - self.turn
        v = matrix[1, 0] * x + matrix[1, 1] * y
        return u.astype(np.float32), v.astype(np.float32)

    @property
    def unit_px(self) -> float:
        """Pixels from the eyes to the mouth."""
        return float(np.hypot(*self.down))


def smooth(outline: npt.NDArray[np.floating], rounds: int = 2) -> npt.NDArray[np.floating]:
    """Round off a closed polygon (n, 2) by Chaikin's corner cutting (Chaikin 1974)."""
    for _ in range(rounds):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack([0.8 * outline + 0.2 * following, 0.2 * outline + 0.8 * following], axis=1)
        outline = outline.reshape(-1, 2)
    return outline


def both_sides(half: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """A closed outline from its right half (n, 2), which starts and ends on the middle line."""
    return np.concatenate([half, half[-2:0:-1] * [-1, 1]])


def capsule(start: FloatArray, end: FloatArray, radius: float) -> FloatArray:
    """Outline (n, 2) of a finger-like rod in (u, v)."""
    along = end - start
    angle = np.arctan2(along[1], along[0])
    around = np.linspace(-np.pi / 2, np.pi / 2, 7)
    tip = end + radius * np.stack([np.cos(angle + around), np.sin(angle + around)], axis=1)
    tail = start - radius * np.stack([np.cos(angle + around), np.sin(angle + around)], axis=1)
    return np.concatenate([tip, tail]).astype(np.float32)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `OptionError` if `value` of the option `name` is none of `choices`."""
    if value not in choices:
        raise OptionError(f"{name} {value!r} is unknown; choose one of {', '.join(choices)}")
