"""What the second stage learns from: crops of what a detector finds in samples, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch.utils.data import IterableDataset, get_worker_info

from maskwatch import boxes
from maskwatch.detector import DetectOptions, Detector
from maskwatch.frames import Image
from maskwatch.training.config import TrainConfig
from maskwatch.training.graph import GraphBuilder, value
from maskwatch.training.layers import averaging
from maskwatch.training.refiner import CROP_SIDE, NO_FACE
from maskwatch.training.samples import Sample, SampleMaker
from maskwatch.training.second_stage import Planes, crop

FloatArray = npt.NDArray[np.float32]
LEAST_PX = 5.0
"""Smaller finds teach nothing."""
SAME_FACE_IOU, NO_FACE_IOU = 0.4, 0.3
"""A find is of a labelled face, whose box it is to take, from the first on; no face below the second."""
_FINDS = DetectOptions(score_threshold=0.01, iou_threshold=0.55, max_detections=100, threads=1)
_MOST_FACES, _LEAST_OTHERS = 12, 3
_POOLED_BATCHES, _DRAWN_BATCHES = 4, 3


class Cropper:
    """Cuts crops with the operators of the exported model, so that training sees what the model will see."""

    def __init__(self) -> None:
        graph = GraphBuilder()
        planes = graph.op(
            "Cast", graph.op("Transpose", "images", perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT
        )
        quarter = graph.conv(planes, averaging(channels=3, factor=4))
        order, crops = crop(graph, Planes(planes, quarter), "picture", "xyxy")
        graph.rename(order, "order")
        graph.rename(graph.op("Cast", graph.op("Round", crops), to=onnx.TensorProto.UINT8), "crops")
        model = graph.model(
            [
                value("images", np.uint8, ["batch", "height", "width", 3]),
                value("picture", np.int64, ["n"]),
                value("xyxy", np.float32, ["n", 4]),
            ],
            [
                value("order", np.int64, ["n"]),
                value("crops", np.uint8, ["n", 3, CROP_SIDE, CROP_SIDE]),
            ],
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def cut(self, image: Image, xyxy: FloatArray) -> npt.NDArray[np.uint8]:
        """RGB crops (n, 3, side, side) of boxes (n, 4) in a picture whose sides are multiples of 4."""
        feed = {"images": image[None], "picture": np.zeros(len(xyxy), np.int64), "xyxy": xyxy}
        order, crops = self._session.run(["order", "crops"], feed)
        sorted_crops = np.empty_like(crops)
        sorted_crops[order] = crops
        return np.asarray(sorted_crops)


@dataclass(frozen=True)
class CropBatch:
    """What n crops show.

    Attributes:
        crops: (n, 3, side, side) uint8 RGB.
        target: (n,) int64 classes: a label, or `NO_FACE`.
        box: (n, 4) float32, the labelled box as `refiner.moved` gives it; of `NO_FACE` it means nothing.
    """

    crops: torch.Tensor
    target: torch.Tensor
    box: torch.Tensor


class CropBatches(IterableDataset[CropBatch]):
    """Endless batches, mixed from some hundred samples at a time."""

    def __init__(self, maker: SampleMaker, config: TrainConfig, detector: Path, seed: int) -> None:
        super().__init__()
        self._maker = maker
        self._config = config
        self._detector = detector
        self._seed = seed

    def __iter__(self) -> Iterator[CropBatch]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, worker.id if worker else 0])
        detector, cropper = Detector(self._detector, _FINDS), Cropper()
        shares = np.array(self._config.side_shares) / sum(self._config.side_shares)
        count = self._config.crops_per_step
        crops = np.zeros((0, 3, CROP_SIDE, CROP_SIDE), np.uint8)
        pool = crops, np.zeros(0, np.int64), np.zeros((0, 4), np.float32)
        while True:
            parts = [pool]
            while sum(len(part[0]) for part in parts) < count * _POOLED_BATCHES:
                sample = self._maker.make(int(rng.choice(self._config.sides, p=shares)), rng)
                xyxy, target, box = _candidates(sample, detector, rng)
                if len(xyxy):
                    parts.append((cropper.cut(sample.image, xyxy), target, box))
            joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
            order = rng.permutation(len(joined[0]))
            for chosen in order[: count * _DRAWN_BATCHES].reshape(_DRAWN_BATCHES, count):
                yield CropBatch(*(torch.from_numpy(array[chosen]) for array in joined))
            rest = order[count * _DRAWN_BATCHES :]
            pool = joined[0][rest], joined[1][rest], joined[2][rest]


def _candidates(
    sample: Sample, detector: Detector, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Some of the detector's finds and of the labelled faces, shifted: boxes, classes and labelled boxes.

    What overlaps a face a little, or one that is ignored, is neither face nor none.
    """
    faces = sample.xyxy[~sample.ignore]
    wh = faces[:, 2:] - faces[:, :2]
    centre = (faces[:, :2] + faces[:, 2:]) / 2 + rng.normal(0, 0.09, wh.shape) * wh
    half = wh / 2 * np.exp(rng.normal(0, 0.15, wh.shape))
    shifted = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    xyxy = np.concatenate([detector.detect(sample.image).xyxy, shifted])
    xyxy = xyxy[boxes.size(xyxy) >= LEAST_PX]
    target, face = _classes(xyxy, sample)
    right = rng.permutation(np.flatnonzero((target >= 0) & (target != NO_FACE)))[:_MOST_FACES]
    others = rng.permutation(np.flatnonzero(target == NO_FACE))[: max(_LEAST_OTHERS, len(right) // 2)]
    chosen = np.concatenate([right, others])
    xyxy, target, face = xyxy[chosen], target[chosen], face[chosen]
    middle = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    box = (face - np.tile(middle, 2)) / np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    return xyxy, target, box.astype(np.float32)


def _classes(xyxy: FloatArray, sample: Sample) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Of each box the label of its face, `NO_FACE`, or −1 where it is neither; and the labelled box."""
    if not len(sample.label):
        return np.full(len(xyxy), NO_FACE, np.int64), xyxy
    overlap = boxes.iou(xyxy, sample.xyxy)
    nearest, best = overlap.argmax(axis=1), overlap.max(axis=1)
    label = np.where(sample.ignore[nearest], -1, sample.label[nearest])
    unclear = boxes.covered(xyxy, sample.xyxy[sample.ignore]).max(axis=1, initial=0) > NO_FACE_IOU
    other = np.where((best < NO_FACE_IOU) & ~unclear, NO_FACE, -1)
    return np.where(best >= SAME_FACE_IOU, label, other).astype(np.int64), sample.xyxy[nearest]
