"""What the second stage learns from: crops of what a detector finds in samples, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch.utils.data import IterableDataset

from maskwatch import boxes
from maskwatch.codec import Letterboxed
from maskwatch.detections import Detections
from maskwatch.detector import DetectOptions, Detector
from maskwatch.frames import Image
from maskwatch.training.config import TrainConfig
from maskwatch.training.graph import GraphBuilder, value
from maskwatch.training.refiner import CROP_SIDE, NEAR_CROP_PX, NO_FACE, Refiner, mended
from maskwatch.training.samples import Sample, SampleMaker, draw_side, worker_generator
from maskwatch.training.second_stage import Found, at_a_quarter, crop

FloatArray = npt.NDArray[np.float32]
UNCLEAR = -1
"""The class of what is neither a face nor none."""
LEAST_PX = 5.0
"""Smaller finds teach nothing."""
SAME_FACE_IOU, NO_FACE_IOU = 0.4, 0.3
"""A find is of a labelled face from the first on, as its box can be mended, and no face below the second."""
_FINDS = DetectOptions(score_threshold=0.01, iou_threshold=0.55, max_detections=100, turned=False, threads=1)
_MOST_FACES, _MOST_BESIDE, _LEAST_OTHERS = 24, 6, 3
_POOLED_BATCHES, _DRAWN_BATCHES = 4, 3
_LEAST_CHANCE = 0.01
"""What a find's score counts more when it is drawn, so that sure mistakes are not all that is learnt."""
_SPREADS = 0.5, 2.0
"""By how much more or less than usual a labelled face's box is shifted."""


class Cropper:
    """Cuts crops with the operators of the exported model, so that training sees what the model will see."""

    def __init__(self) -> None:
        graph = GraphBuilder()
        planes = graph.op(
            "Cast", graph.op("Transpose", "images", perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT
        )
        far, near = (
            Found(graph.op("Expand", graph.constant([0]), graph.shape(xyxy, 0, 1)), xyxy, scores="")
            for xyxy in ("far", "near")
        )
        crops = crop(graph, planes, at_a_quarter(graph, planes), far, near)
        graph.rename(graph.op("Cast", graph.op("Round", crops), to=onnx.TensorProto.UINT8), "crops")
        model = graph.model(
            [
                value("images", np.uint8, ["batch", "height", "width", 3]),
                value("far", np.float32, ["m", 4]),
                value("near", np.float32, ["n", 4]),
            ],
            [value("crops", np.uint8, ["faces", 3, CROP_SIDE, CROP_SIDE])],
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def cut(self, image: Image, xyxy: FloatArray) -> npt.NDArray[np.uint8]:
        """RGB crops (n, 3, side, side) of boxes (n, 4) in a picture (h, w, 3)."""
        far = boxes.size(xyxy) < NEAR_CROP_PX
        feed = {"images": image[None], "far": xyxy[far], "near": xyxy[~far]}
        cut = np.empty((len(xyxy), 3, CROP_SIDE, CROP_SIDE), np.uint8)
        cut[np.argsort(~far, kind="stable")] = self._session.run(["crops"], feed)[0]
        return cut


def second_look(
    refiner: Refiner, cropper: Cropper, picture: Letterboxed, faces: Detections, iou_threshold: float
) -> tuple[Detections, FloatArray]:
    """What the second stage makes of a picture's faces: n whose mended boxes differ, and logits (n, 4)."""
    if not len(faces):
        return faces, np.zeros((0, NO_FACE + 1), np.float32)
    factor = np.tile(np.array(picture.content_wh) / np.array(picture.size_wh), 2).astype(np.float32)
    xyxy = faces.xyxy * factor
    with torch.no_grad():
        judged = refiner(torch.from_numpy(cropper.cut(picture.pixels, xyxy)).float())
        logits = judged.logits.numpy()
        if judged.moves is None:
            return faces, logits
        found = mended(torch.from_numpy(xyxy), judged.moves) / torch.from_numpy(factor)
    faces = replace(faces, xyxy=found.numpy())
    xywh = boxes.to_xywh(faces.xyxy).tolist()
    kept = np.array(cv2.dnn.NMSBoxes(xywh, faces.score.tolist(), 0.0, iou_threshold), np.int64)
    return faces[kept], logits[kept]


@dataclass(frozen=True)
class CropBatch:
    """What n finds are to be judged as.

    Attributes:
        crops: (n, 3, side, side) uint8, RGB.
        target: (n,) int64: the label, `NO_FACE`, or `UNCLEAR`.
        face: (n, 4) float32: the face's labelled box, in the find's sides from its middle; NaN for none.
    """

    crops: torch.Tensor
    target: torch.Tensor
    face: torch.Tensor


class CropBatches(IterableDataset[CropBatch]):
    """Endless batches, mixed from some hundred samples at a time."""

    def __init__(self, maker: SampleMaker, config: TrainConfig, detector: Path, seed: int) -> None:
        super().__init__()
        self._maker = maker
        self._config = config
        self._detector = detector
        self._seed = seed

    def __iter__(self) -> Iterator[CropBatch]:
        rng = worker_generator(self._seed)
        detector, cropper = Detector(self._detector, _FINDS), Cropper()
        count = self._config.crops_per_step
        parts: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], FloatArray]] = []
        while True:
            while sum(len(target) for _, target, _ in parts) < count * _POOLED_BATCHES:
                sample = self._maker.make(draw_side(self._config, rng), rng)
                xyxy, target, face = _candidates(sample, detector, rng)
                if len(xyxy):
                    parts.append((cropper.cut(sample.image, xyxy), target, face))
            crops, targets, faces = (np.concatenate(values) for values in zip(*parts, strict=True))
            order = rng.permutation(len(crops))
            for chosen in order[: count * _DRAWN_BATCHES].reshape(_DRAWN_BATCHES, count):
                yield CropBatch(*(torch.from_numpy(values[chosen]) for values in (crops, targets, faces)))
            rest = order[count * _DRAWN_BATCHES :]
            parts = [(crops[rest], targets[rest], faces[rest])]


def _candidates(
    sample: Sample, detector: Detector, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Boxes (n, 4), and the target and the face of each as in `CropBatch`.

    They are some of the detector's finds and of the labelled faces, shifted. What overlaps a face, but by
    less than a find of it does, or one that is ignored, is neither face nor none. Of what is none, more is
    taken the surer the detector is of it.
    """
    faces = sample.xyxy[~sample.ignore]
    wh = faces[:, 2:] - faces[:, :2]
    spread = rng.uniform(*_SPREADS, (len(wh), 1))
    centre = (faces[:, :2] + faces[:, 2:]) / 2 + rng.normal(0, 0.06, wh.shape) * spread * wh
    half = wh / 2 * np.exp(rng.normal(0, 0.1, wh.shape) * spread)
    shifted = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    found = detector.detect(sample.image)
    xyxy = np.concatenate([found.xyxy, shifted])
    score = np.concatenate([found.score, np.ones(len(shifted), np.float32)])
    large = boxes.size(xyxy) >= LEAST_PX
    xyxy, score = xyxy[large], score[large]
    target, face = _targets(xyxy, sample)
    is_of_face = ~np.isnan(face[:, 0])
    right = rng.permutation(np.flatnonzero(is_of_face & (target != UNCLEAR)))[:_MOST_FACES]
    others = np.flatnonzero(target == NO_FACE)
    others = others[by_chance(score[others], rng)][: max(_LEAST_OTHERS, len(right) // 2)]
    beside = rng.permutation(np.flatnonzero(is_of_face & (target == UNCLEAR)))[:_MOST_BESIDE]
    chosen = np.concatenate([right, others, beside])
    return xyxy[chosen], target[chosen], face[chosen]


def by_chance(score: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """An order of n finds, as if drawn one by one by their scores (Efraimidis and Spirakis 2006)."""
    return np.argsort(rng.exponential(size=len(score)) / (score + _LEAST_CHANCE))


def _targets(xyxy: FloatArray, sample: Sample) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """`CropBatch`'s target (n,) and face (n, 4) of boxes (n, 4)."""
    if not len(sample.label):
        return np.full(len(xyxy), NO_FACE, np.int64), np.full_like(xyxy, np.nan)
    overlap = boxes.iou(xyxy, sample.xyxy)
    nearest, best = overlap.argmax(axis=1), overlap.max(axis=1)
    ignored = sample.ignore[nearest]
    label = np.where(ignored, UNCLEAR, sample.label[nearest])
    unclear = boxes.covered(xyxy, sample.xyxy[sample.ignore]).max(axis=1, initial=0) > NO_FACE_IOU
    other = np.where((best < NO_FACE_IOU) & ~unclear, NO_FACE, UNCLEAR)
    target = np.where(best >= SAME_FACE_IOU, label, other).astype(np.int64)
    middle = np.tile((xyxy[:, :2] + xyxy[:, 2:]) / 2, 2)
    face = (sample.xyxy[nearest] - middle) / np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    face[(best < NO_FACE_IOU) | ignored] = np.nan
    return target, face.astype(np.float32)
