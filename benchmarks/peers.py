"""Other people's models behind one method, `detect(image) -> Detections`, run as their authors do.

A peer that finds faces without judging masks calls every face `without_mask`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from maskwatch import Detections, DetectOptions, Detector
from maskwatch.boxes import clip, from_xywh
from maskwatch.classifier import Classifier, TwoStage
from maskwatch.frames import Image
from maskwatch.opencv_faces import OpenCvFaces

FloatArray = npt.NDArray[np.float32]


class Peer(Protocol):
    """A detector to compare."""

    name: str
    judges_masks: bool

    def detect(self, image: Image, /) -> Detections:
        """Faces of one RGB picture, down to a low score."""
        ...


def suppressed(xyxy: FloatArray, label_scores: FloatArray, iou: float, score: float) -> Detections:
    """Greedy suppression of all faces together, as every peer's own script does it."""
    best = label_scores.max(axis=1)
    keep = np.flatnonzero(best >= score)
    xywh = np.concatenate([xyxy[keep, :2], xyxy[keep, 2:] - xyxy[keep, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(xywh.tolist(), best[keep].tolist(), score, iou) if len(keep) else []
    rows = keep[np.asarray(kept, dtype=int).reshape(-1)]
    return Detections(
        xyxy=xyxy[rows],
        score=best[rows],
        label=label_scores[rows].argmax(axis=1).astype(np.int8),
        label_scores=label_scores[rows],
    )


class Ours:
    """maskwatch, pictures at their own size up to `max_side` px."""

    judges_masks = True

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        score_threshold: float = 0.02,
        threads: int = 1,
        max_side: int = 1024,
    ) -> None:
        options = DetectOptions(score_threshold=score_threshold, threads=threads, max_side=max_side)
        self._detector = Detector(model, options)
        self.card = self._detector.card
        self.name = self.card.name
        if max_side < 1024:
            self.name += f", sides ≤ {max_side}"

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        return self._detector.detect(image)


class Aizoo:
    """AIZOO's SSD of 260×260 with two labels (MIT), in LiteRT."""

    name = "AIZOO 260"
    judges_masks = True
    maps = (33, 17, 9, 5, 3)
    sizes = ((0.04, 0.056), (0.08, 0.11), (0.16, 0.22), (0.32, 0.45), (0.64, 0.72))
    ratios = (1.0, 0.62, 0.42)

    def __init__(self, folder: Path, *, score_threshold: float = 0.02, threads: int = 1) -> None:
        self._net = Interpreter(str(folder / "aizoo_face_mask_260.tflite"), num_threads=threads)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._boxes, self._scores = (entry["index"] for entry in self._net.get_output_details())
        self._anchors = self._make_anchors()
        self._score_threshold = score_threshold

    def _make_anchors(self) -> FloatArray:
        rows = []
        for side, (small, large) in zip(self.maps, self.sizes, strict=True):
            centres = (np.arange(side) + 0.5) / side
            y, x = np.meshgrid(centres, centres, indexing="ij")
            shapes = [(small, small), (large, large)]
            shapes += [(small * np.sqrt(ratio), small / np.sqrt(ratio)) for ratio in self.ratios[1:]]
            for width, height in shapes:
                rows.append(np.stack([x, y, np.full_like(x, width), np.full_like(x, height)], axis=-1))
            stacked = np.stack(rows[-4:], axis=2).reshape(-1, 4)
            rows[-4:] = [stacked]
        return np.concatenate(rows).astype(np.float32)

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        height, width = image.shape[:2]
        resized = cv2.resize(image, (260, 260)).astype(np.float32) / 255
        self._net.set_tensor(self._input, resized[None])
        self.run_network()
        raw, scores = self._net.get_tensor(self._boxes)[0], self._net.get_tensor(self._scores)[0]
        centre = raw[:, :2] * 0.1 * self._anchors[:, 2:] + self._anchors[:, :2]
        half = np.exp(raw[:, 2:] * 0.2) * self._anchors[:, 2:] / 2
        share = np.concatenate([centre - half, centre + half], axis=1)
        xyxy = clip((share * [width, height, width, height]).astype(np.float32), (width, height))
        padded = np.concatenate([scores, np.zeros((len(scores), 1), np.float32)], axis=1)
        return suppressed(xyxy, padded, 0.4, self._score_threshold)

    def run_network(self) -> None:
        """The network alone, on the picture that was given last."""
        self._net.invoke()


def cv2_ssd(folder: Path) -> cv2.dnn.Net:
    """OpenCV's SSD."""
    model, layout = (str(folder / f"opencv_face_detector{end}") for end in ("_uint8.pb", ".pbtxt"))
    return cv2.dnn.readNetFromTensorflow(model, layout)


class TutorialSsd:
    """The tutorial's face detector: OpenCV's res10 SSD of 300×300, faces only."""

    name = "tutorial's SSD"
    judges_masks = False

    def __init__(self, folder: Path, *, score_threshold: float = 0.02, threads: int = 1) -> None:
        cv2.setNumThreads(threads)
        self._net = cv2_ssd(folder)
        self._score_threshold = score_threshold

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        height, width = image.shape[:2]
        blob = cv2.dnn.blobFromImage(image[..., ::-1], 1.0, (300, 300), (104, 177, 123))
        self._net.setInput(blob)
        rows = self._net.forward().reshape(-1, 7).astype(np.float32)
        rows = rows[rows[:, 2] >= self._score_threshold]
        xyxy = clip((rows[:, 3:7] * [width, height, width, height]).astype(np.float32), (width, height))
        return Detections(xyxy=xyxy, score=rows[:, 2], label=np.ones(len(rows), np.int8))


class YuNet:
    """YuNet 2023mar through OpenCV, faces only; pictures scaled to a longer side of 640 px."""

    name = "YuNet 2023mar"
    judges_masks = False

    def __init__(
        self, folder: Path, *, side: int = 640, score_threshold: float = 0.02, threads: int = 1
    ) -> None:
        cv2.setNumThreads(threads)
        model = str(folder / "yunet_2023mar.onnx")
        self._net = cv2.FaceDetectorYN.create(model, "", (320, 320), score_threshold, 0.45, 5000)
        self._side = side

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        scale = self._side / max(image.shape[:2])
        scaled = cv2.resize(np.ascontiguousarray(image[..., ::-1]), None, fx=scale, fy=scale)
        self._net.setInputSize((scaled.shape[1], scaled.shape[0]))
        _, rows = self._net.detect(scaled)
        if rows is None:
            return Detections.empty()
        xyxy = clip(from_xywh(rows[:, :4] / scale), (image.shape[1], image.shape[0]))
        return Detections(xyxy=xyxy, score=rows[:, 14].astype(np.float32), label=np.ones(len(rows), np.int8))


class UltraLight:
    """Ultra-Light-Fast RFB-640, masked-face weights (MIT), in onnxruntime; classes face and mask."""

    name = "Ultra-Light RFB-640 masked"
    judges_masks = True

    def __init__(self, folder: Path, *, score_threshold: float = 0.02, threads: int = 1) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        model = str(folder / "ultralight_rfb640_masked_face.onnx")
        self._session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        self._score_threshold = score_threshold

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        height, width = image.shape[:2]
        resized = (cv2.resize(image, (640, 480)).astype(np.float32) - 127) / 128
        scores, boxes = self._session.run(
            ["scores", "boxes"], {"input": resized.transpose(2, 0, 1)[None].copy()}
        )
        xyxy = clip((boxes[0] * [width, height, width, height]).astype(np.float32), (width, height))
        face, mask = scores[0, :, 1], scores[0, :, 2]
        label_scores = np.stack([mask, face, np.zeros_like(face)], axis=1)
        return suppressed(xyxy, label_scores, 0.3, self._score_threshold)


class TutorialPipeline:
    """The tutorial as a whole: its SSD, then a MobileNetV2 classifier on each crop."""

    name = "tutorial: SSD + MobileNetV2"
    judges_masks = True

    def __init__(
        self, folder: Path, classifier: Path, *, score_threshold: float = 0.02, threads: int = 1
    ) -> None:
        cv2.setNumThreads(threads)
        faces = OpenCvFaces(folder / "opencv_face_detector_uint8.pb", score_threshold)
        self._stages = TwoStage(faces, Classifier(classifier, threads=threads))

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`."""
        return self._stages.detect(image)


class BlazeFace:
    """MediaPipe's short-range face detector (Apache-2.0), 128×128, in LiteRT; faces only."""

    name = "BlazeFace short range"
    judges_masks = False
    side = 128
    grids = ((16, 2), (8, 6))
    """Cells a side, and anchors a cell: strides 8, and three levels of stride 16."""

    def __init__(self, model: Path, *, score_threshold: float = 0.02, threads: int = 1) -> None:
        self._net = Interpreter(str(model), num_threads=threads)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        outputs = {entry["name"]: entry["index"] for entry in self._net.get_output_details()}
        self._boxes, self._scores = outputs["regressors"], outputs["classificators"]
        self._score_threshold = score_threshold
        rows = []
        for cells, count in self.grids:
            middle = (np.arange(cells) + 0.5) / cells
            y, x = np.meshgrid(middle, middle, indexing="ij")
            rows.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
        self._anchors = np.concatenate(rows).astype(np.float32)

    def detect(self, image: Image, /) -> Detections:
        """See `Peer`; the picture is padded to a square, as MediaPipe does."""
        height, width = image.shape[:2]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        square = cv2.copyMakeBorder(
            image, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT
        )
        resized = cv2.resize(square, (self.side, self.side), interpolation=cv2.INTER_AREA)
        self._net.set_tensor(self._input, resized[None].astype(np.float32) / 127.5 - 1)
        self._net.invoke()
        raw, logits = self._net.get_tensor(self._boxes)[0], self._net.get_tensor(self._scores)[0, :, 0]
        score = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # more does not fit 32 bits
        centre, half = raw[:, :2] / self.side + self._anchors, raw[:, 2:4] / self.side / 2
        xyxy = np.concatenate([centre - half, centre + half], axis=1) * side - [left, top, left, top]
        label_scores = np.stack([np.zeros_like(score), score, np.zeros_like(score)], axis=1)
        return suppressed(
            clip(xyxy.astype(np.float32), (width, height)),
            label_scores.astype(np.float32),
            0.3,
            self._score_threshold,
        )
