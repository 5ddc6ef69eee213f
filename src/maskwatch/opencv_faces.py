"""Face detectors that OpenCV runs, as a first stage: the tutorial's SSD, and YuNet."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.codec import ImageSource, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import ModelError, OptionError
from maskwatch.files import is_folder
from maskwatch.frames import Image
from maskwatch.labels import WITHOUT_MASK
from maskwatch.onnx_file import read_onnx
from maskwatch.onnx_session import read_model_file

SSD_SIZE = (300, 300)
SSD_MEAN = (104.0, 177.0, 123.0)
YUNET_SIDE = 640
LARGEST_MODEL_BYTES = 128 * 2**20


@dataclass(frozen=True)
class FaceDetectorCard:
    """What is known of a face detector of OpenCV: nothing stands in its file.

    Attributes:
        name: the file's name.
        version: "".
        score_threshold: default for faces reported; the tutorial's is 0.5.
        sha256: digest of the file.
    """

    name: str
    version: str
    score_threshold: float
    sha256: str


class OpenCvFaces:
    """Finds faces and judges none: every face is `without_mask` until a classifier looks at it.

    Safe to call from several threads; they take turns, as OpenCV's networks serve one at a time.

    Raises:
        ModelError: the files are missing, or OpenCV cannot load them.
        OptionError: a threshold is out of range.

    Examples:
        >>> from pathlib import Path
        >>> from maskwatch import Classifier, OpenCvFaces, TwoStage
        >>> tutorial = TwoStage(OpenCvFaces(Path("face_detector")), Classifier("mask_detector.onnx"))
        >>> len(tutorial.detect("people.jpg")) > 0
        True
    """

    def __init__(self, model: Path, score_threshold: float | None = None) -> None:
        """Load the tutorial's SSD (`.pb` with its `.pbtxt` beside it), or YuNet (`.onnx`).

        A folder with the files of one of them will do as well.
        """
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise OptionError(f"score_threshold must lie between 0 and 1, not {score_threshold}")
        path = _model_file(model)
        threshold = 0.5 if score_threshold is None else score_threshold
        data = read_model_file(path, LARGEST_MODEL_BYTES)
        self.card = FaceDetectorCard(path.name, "", threshold, hashlib.sha256(data).hexdigest())
        self._lock = threading.Lock()
        self._is_yunet = path.suffix.lower() == ".onnx"
        try:
            if self._is_yunet:
                self._yunet = load_yunet(data, str(path), threshold)
            else:
                layout = read_model_file(_layout_of(path), LARGEST_MODEL_BYTES)
                self._ssd = cv2.dnn.readNetFromTensorflow(_buffer(data), _buffer(layout))
        except cv2.error as error:
            raise ModelError(f"{path}: OpenCV cannot load this face detector; take another copy") from error

    def detect(self, image: ImageSource, /) -> Detections:
        """Faces of one picture, best first.

        Raises:
            ImageError: it cannot be read.
            ModelError: the network does not answer as a face detector.
        """
        picture = read_picture(image).image
        look = self._look_yunet if self._is_yunet else self._look_ssd
        try:
            with self._lock:
                xyxy, score = look(picture)
        except (cv2.error, ValueError, IndexError) as error:
            raise ModelError(
                f"{self.card.name}: no face detector, or a damaged one; take another copy"
            ) from error
        keep = np.isfinite(xyxy).all(axis=1)
        xyxy, score = xyxy[keep], score[keep]
        size_wh = (picture.shape[1], picture.shape[0])
        xyxy = boxes.clip(xyxy, size_wh)
        keep = (score >= self.card.score_threshold) & (boxes.area(xyxy) >= 1)
        order = np.argsort(-score[keep], kind="stable")
        label = np.full(len(order), WITHOUT_MASK, dtype=np.int8)
        return Detections(xyxy=xyxy[keep][order], score=np.clip(score[keep][order], 0, 1), label=label)

    def _look_ssd(self, image: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        height, width = image.shape[:2]
        bgr = np.ascontiguousarray(image[..., ::-1])
        self._ssd.setInput(cv2.dnn.blobFromImage(bgr, 1.0, SSD_SIZE, SSD_MEAN))
        rows = np.asarray(self._ssd.forward(), dtype=np.float32).reshape(-1, 7)
        scale = np.array([width, height, width, height], dtype=np.float32)
        return rows[:, 3:7] * scale, rows[:, 2]

    def _look_yunet(self, image: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        scale = YUNET_SIDE / max(image.shape[:2])
        bgr = np.ascontiguousarray(image[..., ::-1])
        wanted = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        scaled = cv2.resize(bgr, wanted)
        self._yunet.setInputSize(wanted)
        _, rows = self._yunet.detect(scaled)
        if rows is None:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return boxes.from_xywh(rows[:, :4] / scale), rows[:, 14].astype(np.float32)


def load_yunet(data: bytes, name: str, threshold: float, overlap: float = 0.45) -> cv2.FaceDetectorYN:
    """YuNet from the bytes of its ONNX file, checked as a detector's.

    Raises:
        ModelError: it uses what is not allowed, or is no YuNet.
    """
    read_onnx(data, name)
    try:
        nothing = np.zeros(0, np.uint8)
        return cv2.FaceDetectorYN.create("onnx", _buffer(data), nothing, (320, 320), threshold, overlap, 5000)
    except cv2.error as error:
        raise ModelError(f"{name}: OpenCV cannot load this face detector; take another copy") from error


def _buffer(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)


def _model_file(path: Path) -> Path:
    """The network itself, where a folder was named as the tutorial does."""
    if is_folder(path):
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in (".pb", ".onnx", ".caffemodel"))
        if len(found) != 1:
            raise ModelError(f"{path}: holds {len(found)} face detectors; name the file itself")
        path = found[0]
    if path.suffix.lower() == ".caffemodel":
        raise ModelError(
            f"{path}: OpenCV 5 no longer reads Caffe files; take the same network as "
            "opencv_face_detector_uint8.pb with its .pbtxt"
        )
    if path.suffix.lower() not in (".pb", ".onnx"):
        raise ModelError(f"{path}: no face detector that is known; take OpenCV's SSD (.pb) or YuNet (.onnx)")
    return path


def _layout_of(path: Path) -> Path:
    """The `.pbtxt` that belongs to a `.pb`: of the same name, without `_uint8`, or the only one there."""
    named = [path.with_suffix(".pbtxt"), path.with_name(path.stem.removesuffix("_uint8") + ".pbtxt")]
    for candidate in named:
        if candidate.is_file():
            return candidate
    others = sorted(path.parent.glob("*.pbtxt"))
    if len(others) == 1:
        return others[0]
    raise ModelError(f"{path}: its layout {named[0].name} is not beside it; put it there")
