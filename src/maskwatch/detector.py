"""`Detector`: finds faces and says of each whether a mask is worn, with onnxruntime on the CPU."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import onnxruntime

from maskwatch.codec import ImageSource, Letterboxed, detections_of, letterbox, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import ImageError, ModelError, OptionError
from maskwatch.model_card import ModelCard

DEFAULT_MODEL = "maskwatch-small.onnx"
LARGEST_MODEL_BYTES = 64 * 2**20


@dataclass(frozen=True)
class DetectOptions:
    """What a detector can be told; None takes the model card's value.

    Attributes:
        score_threshold: faces below this score are left out, 0..1.
        iou_threshold: of two boxes that overlap more, the weaker is left out, 0..1.
        certainty_threshold: a label with a smaller share of the label scores is `uncertain`, 0..1.
        max_side: larger pictures are scaled down to this many px before detection; small ones are
            not blown up.
        max_detections: most faces reported for one picture.
        threads: threads of one inference; 0 lets onnxruntime use all cores.

    Raises:
        OptionError: a value is out of range.
    """

    score_threshold: float | None = None
    iou_threshold: float | None = None
    certainty_threshold: float | None = None
    max_side: int = 1024
    max_detections: int = 1000
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold", "certainty_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name} must lie between 0 and 1, not {value}")
        for name, least in (("max_side", 32), ("max_detections", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}, not {getattr(self, name)}")


class Detector:
    """A loaded model, ready for pictures; safe to call from several threads.

    Raises:
        ModelError: the model file is missing, damaged, too large or no maskwatch model.
    """

    def __init__(
        self, model: str | os.PathLike[str] | None = None, options: DetectOptions | None = None
    ) -> None:
        """Load `model`, an ONNX file; None loads the one in the package."""
        self.options = options or DetectOptions()
        name, data = _read_model(model)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.options.threads
        settings.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base but Exception
            raise ModelError(f"{name}: cannot be loaded as an ONNX model ({error})") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = ModelCard.from_metadata(metadata, name, hashlib.sha256(data).hexdigest())

    @overload
    def detect(self, image: ImageSource) -> Detections: ...

    @overload
    def detect(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Detections]: ...

    def detect(
        self, image: ImageSource | list[ImageSource] | tuple[ImageSource, ...]
    ) -> Detections | list[Detections]:
        """Find the faces of one picture, or of a batch: a list, a tuple or an array (b, h, w, 3).

        A picture is a path, encoded bytes, a PIL image, an RGB array (h, w, 3) uint8 or a `Frame`.
        Boxes are in the original's pixels, upright as EXIF says; faces come best first.

        Raises:
            ImageError: a picture cannot be read.
        """
        if isinstance(image, list | tuple):
            return self.detect_letterboxed([self.prepare(one) for one in image])
        if isinstance(image, np.ndarray) and image.ndim == 4:
            return self.detect_letterboxed([self.prepare(one) for one in image])
        return self.detect_letterboxed([self.prepare(image)])[0]

    def prepare(self, image: ImageSource) -> Letterboxed:
        """Decode and scale one picture as `detect` does; for callers that decode ahead.

        Raises:
            ImageError: it cannot be read.
        """
        picture = read_picture(image, needed_side=self.options.max_side)
        return letterbox(picture, max_side=self.options.max_side, size_multiple=self.card.size_multiple)

    def detect_letterboxed(
        self, prepared: Sequence[Letterboxed], *, score_threshold: float | None = None
    ) -> list[Detections]:
        """Find the faces of prepared pictures; those of one size run through the network together.

        `score_threshold` takes the place of the detector's own for this call.
        """
        results: list[Detections] = [Detections.empty()] * len(prepared)
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(prepared):
            groups.setdefault(one.pixels.shape, []).append(number)
        for numbers in groups.values():
            group = [prepared[number] for number in numbers]
            found = detections_of(
                group,
                self._run(np.stack([one.pixels for one in group]), score_threshold),
                certainty_threshold=_or(self.options.certainty_threshold, self.card.certainty_threshold),
            )
            for number, detections in zip(numbers, found, strict=True):
                results[number] = detections
        return results

    def _run(
        self, images: npt.NDArray[np.uint8], score_threshold: float | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        options = self.options
        if score_threshold is None:
            score_threshold = _or(options.score_threshold, self.card.score_threshold)
        iou_threshold = _or(options.iou_threshold, self.card.iou_threshold)
        feed = {
            "images": images,
            "score_threshold": np.array([score_threshold], dtype=np.float32),
            "iou_threshold": np.array([iou_threshold], dtype=np.float32),
            "max_detections": np.array([options.max_detections], dtype=np.int64),
        }
        try:
            index, xyxy, label_scores = self._session.run(["image_index", "xyxy", "label_scores"], feed)
        except Exception as error:  # as above; a picture too large for memory ends here
            height, width = images.shape[1:3]
            raise ImageError(f"{width}×{height} picture: the network failed on it ({error})") from error
        return index, xyxy, label_scores


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _read_model(model: str | os.PathLike[str] | None) -> tuple[str, bytes]:
    """Name and bytes of a model file."""
    if model is None:
        packaged = resources.files("maskwatch") / "models" / DEFAULT_MODEL
        return DEFAULT_MODEL, packaged.read_bytes()
    path = Path(model)
    try:
        if path.stat().st_size > LARGEST_MODEL_BYTES:
            raise ModelError(f"{path}: larger than {LARGEST_MODEL_BYTES:,} bytes; that is no maskwatch model")
        return str(path), path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
