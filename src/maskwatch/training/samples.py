"""Training samples: square pictures cut and pasted from labelled ones.

Face sizes are what matters: a sample shows a face at a log-uniform size from 8 px to the whole
sample, or a picture near its own resolution, or a grid of pictures. Masks are drawn on unmasked
faces here, after scaling, so that a face of 12 px gets a mask of 12 px.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from maskwatch import boxes, synthesis
from maskwatch.detections import Detections
from maskwatch.frames import Image
from maskwatch.labels import MASK_WORN_INCORRECTLY, WITHOUT_MASK
from maskwatch.training.augment import odd_colours, photometric
from maskwatch.training.config import LARGEST_NATIVE_PX, TrainConfig
from maskwatch.training.dressing import fit_to_draw_on, is_alone, random_gear
from maskwatch.training.pictures import Cloths, PictureCache, level_for, warped
from maskwatch.training.prepare import TrainingImage

FloatArray = npt.NDArray[np.float32]
_MIRRORED_LANDMARKS = [1, 0, 2, 4, 3]
_SMALLEST_ZOOMED_PX = 90.0
_LARGEST_ZOOM = 6.0
_SKIN_DEPTHS = 0.4, 1.0
"""From clearly darker to the darkest."""


@dataclass
class Sample:
    """One training picture, (side, side, 3) RGB, and its faces in its own pixels."""

    image: Image
    xyxy: FloatArray
    label: npt.NDArray[np.int64]
    ignore: npt.NDArray[np.bool_]
    landmarks: FloatArray

    @classmethod
    def blank(cls, width: int, height: int) -> Sample:
        """A black picture without faces."""
        return cls(
            image=np.zeros((height, width, 3), np.uint8),
            xyxy=np.zeros((0, 4), np.float32),
            label=np.zeros(0, np.int64),
            ignore=np.zeros(0, bool),
            landmarks=np.zeros((0, 5, 2), np.float32),
        )

    def paste(self, part: Sample, left: int, top: int) -> None:
        """Put `part` at (left, top) of this sample, faces included."""
        height, width = part.image.shape[:2]
        self.image[top : top + height, left : left + width] = part.image
        offset = np.array([left, top], np.float32)
        self.xyxy = np.concatenate([self.xyxy, part.xyxy + np.tile(offset, 2)])
        self.landmarks = np.concatenate([self.landmarks, part.landmarks + offset])
        self.label = np.concatenate([self.label, part.label])
        self.ignore = np.concatenate([self.ignore, part.ignore])

    def turn(self, quarters: int) -> None:
        """Turn clockwise by `quarters` times 90°, as a telephone held sideways or upside down does."""
        for _ in range(quarters):
            height = self.image.shape[0]
            self.image = np.rot90(self.image, -1)
            x, y = self.landmarks[..., 0], self.landmarks[..., 1]
            self.landmarks = np.stack([height - y, x], axis=-1)
            left, top, right, bottom = self.xyxy.T
            self.xyxy = np.stack([height - bottom, left, height - top, right], axis=1)
        self.image = np.ascontiguousarray(self.image)


class SampleMaker:
    """Makes `Sample`s from training images; all randomness comes from the generator passed in."""

    def __init__(self, images: Sequence[TrainingImage], config: TrainConfig, cache: PictureCache) -> None:
        self._images = images
        self._config = config.augment
        self._cache = cache
        self._cloths = Cloths(images, cache)
        weights = np.array([_draw_weight(image, config) for image in images], dtype=np.float64)
        self._cumulative = np.cumsum(weights / weights.sum())

    def make(self, side: int, rng: np.random.Generator) -> Sample:
        """One sample of `side` px."""
        config = self._config
        shares = np.array(config.grid_shares)
        grid = 1 + int(rng.choice(len(shares), p=shares / shares.sum()))
        sample = Sample.blank(side, side)
        edges = np.linspace(0, side, grid + 1)
        edges[1:-1] += rng.uniform(-0.15, 0.15, size=grid - 1) * side / grid
        cuts = edges.round().astype(int)
        for top, bottom in pairwise(cuts):
            for left, right in pairwise(cuts):
                part = self._cut(int(right - left), int(bottom - top), grid, rng)
                sample.paste(part, int(left), int(top))
        self._darken_skin(sample, rng)
        self._draw(sample, rng)
        self._dress(sample, rng)
        if rng.random() < config.quarter_turn_share:
            sample.turn(int(rng.integers(1, 4)))
        least = boxes.size(sample.xyxy[~sample.ignore]).min(initial=np.inf)
        if least >= config.odd_colour_least_px and rng.random() < config.odd_colour_share:
            sample.image = odd_colours(sample.image, rng)
        sample.image = photometric(sample.image, rng, config.strength)
        return sample

    def _cut(self, width: int, height: int, grid: int, rng: np.random.Generator) -> Sample:
        """One picture, scaled and shifted into a window."""
        chosen = int(np.searchsorted(self._cumulative, rng.random()))
        source = self._images[min(chosen, len(self._images) - 1)]
        levels = self._cache.read(source.labelled.path)
        window_wh, size_wh = np.array([width, height]), np.array(levels[0].shape[1::-1])
        counted = np.flatnonzero(~source.labelled.ignore)
        large = counted[source.labelled.faces.size[counted] >= _SMALLEST_ZOOMED_PX]
        if grid == 1 and len(large) and rng.random() < self._config.zoomed_share:
            view = _zoom(source.labelled.faces[rng.choice(large, 1)], window_wh, rng)
        elif len(counted) and rng.random() < self._config.surround_share:
            view = _surround(source.labelled.faces[rng.choice(counted, 1)], window_wh, rng)
        elif len(counted) and rng.random() >= self._config.native_share:
            face = source.labelled.faces[rng.choice(counted, 1)]
            view = _aim(face, window_wh, size_wh, self._config.smallest_face_px, rng)
        else:
            view = _wander(window_wh, size_wh, grid, rng)
        tilted = rng.random() < self._config.tilt_share
        tilt_deg = rng.normal(0, self._config.tilt_deg) if tilted else 0.0
        squeeze = math.exp(rng.normal(0, self._config.squeeze_deviation))
        affine = view.affine(window_wh, size_wh, tilt_deg, squeeze, rng)
        return _warp(levels, source, affine, (width, height), rng)

    def _draw(self, sample: Sample, rng: np.random.Generator) -> None:
        """Draw masks and occluders on unmasked faces; labels follow."""
        config = self._config
        crowd = rng.random() < config.masked_crowd_share
        mask_share = 0.75 if crowd else config.drawn_mask_share
        size = boxes.size(sample.xyxy)
        for face in np.flatnonzero(_drawable(sample) & (sample.label == WITHOUT_MASK)):
            points = sample.landmarks[face]
            if rng.random() < mask_share:
                wrong = rng.random() < config.worn_wrong_share
                wear = synthesis.WEARS[1 + int(rng.random() < 0.4) if wrong else 0]
                kind = synthesis.MASK_KINDS[rng.integers(len(synthesis.MASK_KINDS))]
                kind = "cloth" if wrong and kind == "bandana" else kind
                is_real = rng.random() < config.real_cloth_share
                sample.image = synthesis.draw_mask(
                    sample.image,
                    points,
                    kind=kind,
                    wear=wear,
                    lower=rng.uniform(*synthesis.LOWER_OF_WEAR[wear]),
                    cloth=self._cloths.draw(size[face], rng) if is_real else None,
                    rng=rng,
                )
                sample.label[face] = synthesis.LABEL_OF_WEAR[wear]
            elif rng.random() < config.occluder_share:
                thing = synthesis.OCCLUDER_KINDS[rng.integers(len(synthesis.OCCLUDER_KINDS))]
                sample.image = synthesis.draw_occluder(sample.image, points, kind=thing, rng=rng)

    def _darken_skin(self, sample: Sample, rng: np.random.Generator) -> None:
        """Give some faces, masked ones included, a darker skin; labels stay."""
        if not self._config.dark_skin_share:
            return
        for face in np.flatnonzero(_drawable(sample)):
            if rng.random() < self._config.dark_skin_share:
                depth = rng.uniform(*_SKIN_DEPTHS)
                sample.image = synthesis.darken_skin(sample.image, sample.landmarks[face], depth=depth)

    def _dress(self, sample: Sample, rng: np.random.Generator) -> None:
        """Draw what is worn on a head beside a mask, on masked and unmasked faces; labels stay."""
        for face in np.flatnonzero(_drawable(sample)):
            if rng.random() < self._config.gear_share:
                alone = is_alone(face, sample.xyxy)
                kinds = random_gear(rng, alone=alone, guard_share=self._config.guard_share)
                sample.image = synthesis.draw_gear(sample.image, sample.landmarks[face], kinds=kinds, rng=rng)


def _drawable(sample: Sample) -> npt.NDArray[np.bool_]:
    """Which faces of a sample count, and can be drawn on."""
    return fit_to_draw_on(sample.xyxy, sample.landmarks) & ~sample.ignore


def _draw_weight(image: TrainingImage, config: TrainConfig) -> float:
    """How often a picture is drawn."""
    weight = config.set_weights.get(image.labelled.set_name, 1.0)
    wrong = (image.labelled.faces.label == MASK_WORN_INCORRECTLY) & ~image.labelled.ignore
    return weight * (config.wrong_weight if wrong.any() else 1.0)


@dataclass(frozen=True)
class _View:
    """How a window looks at a picture: the picture's `centre` appears at the window's `place`."""

    scale: float
    centre: npt.NDArray[np.floating[Any]]
    place: npt.NDArray[np.floating[Any]]

    def affine(
        self,
        window_wh: npt.NDArray[np.int64],
        size_wh: npt.NDArray[np.int64],
        tilt_deg: float,
        squeeze: float,
        rng: np.random.Generator,
    ) -> FloatArray:
        """(2, 3): source pixels → window pixels; tilted, `squeeze` wider and lower, by chance flipped.

        The picture is then shifted to fill as much of the window as it can.
        """
        flip = -1.0 if rng.random() < 0.5 else 1.0
        angle = math.radians(tilt_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn @ np.diag([flip * self.scale * squeeze, self.scale / squeeze])
        offset = self.place - linear @ self.centre
        middle = linear @ (size_wh / 2) + offset
        spare = np.abs(np.abs(np.diag(linear)) * size_wh - window_wh) / 2
        offset += np.clip(middle, window_wh / 2 - spare, window_wh / 2 + spare) - middle
        return np.concatenate([linear, offset[:, None]], axis=1).astype(np.float32)


def _aim(
    face: Detections,
    window_wh: npt.NDArray[np.int64],
    size_wh: npt.NDArray[np.int64],
    smallest_px: float,
    rng: np.random.Generator,
) -> _View:
    """Show one face at a log-uniform size, anywhere in the window."""
    shorter, size = float(window_wh.min()), float(face.size[0])
    target = math.exp(rng.uniform(math.log(smallest_px), math.log(0.95 * shorter)))
    scale = min(target / max(size, 1.0), 4.0)
    scale = max(scale, 0.7 * shorter / float(size_wh.min()))  # no empty windows
    room = np.maximum(window_wh - scale * size, 0.1 * shorter)
    centre = (face.xyxy[0, :2] + face.xyxy[0, 2:]) / 2
    return _View(scale, centre, window_wh / 2 + rng.uniform(-0.5, 0.5, size=2) * room)


def _zoom(face: Detections, window_wh: npt.NDArray[np.int64], rng: np.random.Generator) -> _View:
    """Show a part of a face too large for the network, which has to find nothing there."""
    scale = math.exp(rng.uniform(*np.log([1.15, 2.5]))) * LARGEST_NATIVE_PX / float(face.size[0])
    inside = rng.uniform(0.1, 0.9, size=2)
    return _View(scale, face.xyxy[0, :2] * (1 - inside) + face.xyxy[0, 2:] * inside, window_wh / 2)


def _surround(face: Detections, window_wh: npt.NDArray[np.int64], rng: np.random.Generator) -> _View:
    """Show what is beside a face, hair, shoulders, cloth, at the scale of a face that fills the window."""
    size = max(float(face.size[0]), 1.0)
    target = float(window_wh.min()) * math.exp(rng.uniform(*np.log([0.8, 3.0])))
    away = rng.uniform(-2.5, 2.5, size=2)
    centre = (face.xyxy[0, :2] + face.xyxy[0, 2:]) / 2 + away * size
    return _View(min(target / size, _LARGEST_ZOOM), centre, window_wh / 2)


def _wander(
    window_wh: npt.NDArray[np.int64], size_wh: npt.NDArray[np.int64], grid: int, rng: np.random.Generator
) -> _View:
    """Show any part of the picture near its own resolution."""
    scale = math.exp(rng.uniform(math.log(0.7), math.log(1.4)))
    scale *= rng.uniform(1.0 / grid, 1.0)  # a cell shows as much of a picture as a sample does
    spare = window_wh / scale
    low, high = np.minimum(spare / 2, size_wh - spare / 2), np.maximum(spare / 2, size_wh - spare / 2)
    return _View(scale, rng.uniform(low, high), window_wh / 2)


def _warp(
    levels: Sequence[Image],
    source: TrainingImage,
    affine: FloatArray,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> Sample:
    """The window of `source` that `affine` maps into `size_wh`, with the faces still seen in it."""
    scale = math.sqrt(abs(float(np.linalg.det(affine[:, :2].astype(np.float64)))))
    level = level_for(scale, levels)
    pixels = levels[level]
    matrix = affine.copy()
    matrix[:, 0] *= levels[0].shape[1] / pixels.shape[1]
    matrix[:, 1] *= levels[0].shape[0] / pixels.shape[0]
    border = float(rng.choice([0, 114, 255]))
    way = cv2.INTER_LINEAR if scale < 1.5 or rng.random() < 0.5 else cv2.INTER_CUBIC
    image = warped(pixels, matrix, size_wh, way=way, border=border)

    faces = source.labelled.faces
    linear, offset = affine[:, :2], affine[:, 2]
    whole = boxes.warped(faces.xyxy, affine)
    xyxy = boxes.clip(whole, size_wh)
    seen = boxes.area(xyxy) / np.maximum(boxes.area(whole), 1e-3)
    landmarks = source.landmarks @ linear.T + offset
    if np.linalg.det(linear) < 0:
        landmarks = landmarks[:, _MIRRORED_LANDMARKS]
    keep = (seen > 0.1) & (boxes.size(whole) <= 1.1 * LARGEST_NATIVE_PX)
    ignore = source.labelled.ignore | (seen < 0.45) | (boxes.size(xyxy) < 8.0)
    return Sample(
        image=image,
        xyxy=xyxy[keep],
        label=faces.label[keep].astype(np.int64),
        ignore=ignore[keep],
        landmarks=landmarks[keep].astype(np.float32),
    )


@dataclass
class Batch:
    """Samples of one side as tensors; the faces of all pictures stand in one list.

    Attributes:
        images: (B, side, side, 3) uint8 RGB.
        picture: (n,) int64, which picture a face is in.
        xyxy: (n, 4) float32 px.
        label: (n,) int64.
        ignore: (n,) bool.
    """

    images: torch.Tensor
    picture: torch.Tensor
    xyxy: torch.Tensor
    label: torch.Tensor
    ignore: torch.Tensor

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Batch:
        """Stack samples of equal side."""
        counts = [len(sample.label) for sample in samples]
        return cls(
            images=torch.from_numpy(np.stack([sample.image for sample in samples])),
            picture=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
            xyxy=torch.from_numpy(np.concatenate([sample.xyxy for sample in samples])),
            label=torch.from_numpy(np.concatenate([sample.label for sample in samples])),
            ignore=torch.from_numpy(np.concatenate([sample.ignore for sample in samples])),
        )


def worker_generator(seed: int) -> np.random.Generator:
    """Random numbers of this worker process alone; OpenCV is told to leave the other cores to the others."""
    cv2.setNumThreads(0)
    worker = get_worker_info()
    return np.random.default_rng([seed, worker.id if worker else 0])


def draw_side(config: TrainConfig, rng: np.random.Generator) -> int:
    """The side of a sample in px."""
    shares = np.array(config.side_shares) / sum(config.side_shares)
    return int(rng.choice(config.sides, p=shares))


class Batches(IterableDataset[Batch]):
    """Endless batches; the side changes from batch to batch, the number of pixels hardly."""

    def __init__(self, maker: SampleMaker, config: TrainConfig, seed: int) -> None:
        super().__init__()
        self._maker = maker
        self._config = config
        self._seed = seed

    def __iter__(self) -> Iterator[Batch]:
        rng = worker_generator(self._seed)
        while True:
            side = draw_side(self._config, rng)
            count = max(1, round(self._config.pixels_per_step / side**2))
            yield Batch.collate([self._maker.make(side, rng) for _ in range(count)])
