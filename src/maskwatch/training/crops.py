"""What the second stage learns from: crops of what a detector finds in samples, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
from maskwatch.training.refiner import CROP_SIDE, NEAR_CROP_PX, NO_FACE, Refiner
from maskwatch.training.samples import Sample, SampleMaker, draw_side, worker_generator
from maskwatch.training.second_stage import Found, at_a_quarter, crop

FloatArray = npt.NDArray[np.float32]
LEAST_PX = 5.0
"""Smaller finds teach nothing."""
SAME_FACE_IOU, NO_FACE_IOU = 0.5, 0.3
"""A find is of a labelled face from the first on, and no face below the second."""
_FINDS = DetectOptions(score_threshold=0.01, iou_threshold=0.55, max_detections=100, turned=False, threads=1)
_MOST_FACES, _LEAST_OTHERS = 24, 3
_POOLED_BATCHES, _DRAWN_BATCHES = 4, 3


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
    refiner: Refiner, cropper: Cropper, picture: Letterboxed, faces: Detections
) -> npt.NDArray[np.float32]:
    """What the second stage makes of the n faces of a picture: logits (n, 4)."""
    factor = np.tile(np.array(picture.content_wh) / np.array(picture.size_wh), 2).astype(np.float32)
    if not len(faces):
        return np.zeros((0, NO_FACE + 1), np.float32)
    with torch.no_grad():
        logits = refiner(torch.from_numpy(cropper.cut(picture.pixels, faces.xyxy * factor)).float())
    return np.asarray(logits, dtype=np.float32)


@dataclass(frozen=True)
class CropBatch:
    """Crops (n, 3, side, side) uint8 RGB and their classes (n,) int64: a label, or `NO_FACE`."""

    crops: torch.Tensor
    target: torch.Tensor


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
        crops = np.zeros((0, 3, CROP_SIDE, CROP_SIDE), np.uint8)
        targets = np.zeros(0, np.int64)
        while True:
            parts, added = [crops], [targets]
            while sum(map(len, added)) < count * _POOLED_BATCHES:
                sample = self._maker.make(draw_side(self._config, rng), rng)
                xyxy, target = _candidates(sample, detector, rng)
                if len(xyxy):
                    parts.append(cropper.cut(sample.image, xyxy))
                    added.append(target)
            crops, targets = np.concatenate(parts), np.concatenate(added)
            order = rng.permutation(len(crops))
            for chosen in order[: count * _DRAWN_BATCHES].reshape(_DRAWN_BATCHES, count):
                yield CropBatch(torch.from_numpy(crops[chosen]), torch.from_numpy(targets[chosen]))
            rest = order[count * _DRAWN_BATCHES :]
            crops, targets = crops[rest], targets[rest]


def _candidates(
    sample: Sample, detector: Detector, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Some of the detector's finds and of the labelled faces, shifted a little: boxes (n, 4), classes (n,).

    What overlaps a face by half and less, or one that is ignored, is neither face nor none.
    """
    faces = sample.xyxy[~sample.ignore]
    wh = faces[:, 2:] - faces[:, :2]
    centre = (faces[:, :2] + faces[:, 2:]) / 2 + rng.normal(0, 0.06, wh.shape) * wh
    half = wh / 2 * np.exp(rng.normal(0, 0.1, wh.shape))
    shifted = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    xyxy = np.concatenate([detector.detect(sample.image).xyxy, shifted])
    size = boxes.size(xyxy)
    xyxy = xyxy[size >= LEAST_PX]
    target = _classes(xyxy, sample)
    right = rng.permutation(np.flatnonzero((target >= 0) & (target != NO_FACE)))[:_MOST_FACES]
    others = rng.permutation(np.flatnonzero(target == NO_FACE))[: max(_LEAST_OTHERS, len(right) // 2)]
    chosen = np.concatenate([right, others])
    return xyxy[chosen], target[chosen]


def _classes(xyxy: FloatArray, sample: Sample) -> npt.NDArray[np.int64]:
    """The label of the face that each box is of, `NO_FACE`, or −1 where it is neither."""
    if not len(sample.label):
        return np.full(len(xyxy), NO_FACE, np.int64)
    overlap = boxes.iou(xyxy, sample.xyxy)
    nearest, best = overlap.argmax(axis=1), overlap.max(axis=1)
    label = np.where(sample.ignore[nearest], -1, sample.label[nearest])
    unclear = boxes.covered(xyxy, sample.xyxy[sample.ignore]).max(axis=1, initial=0) > NO_FACE_IOU
    other = np.where((best < NO_FACE_IOU) & ~unclear, NO_FACE, -1)
    return np.where(best >= SAME_FACE_IOU, label, other).astype(np.int64)
