"""`Detector`: finds faces and says of each whether a mask is worn, with onnxruntime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
import numpy.typing as npt

from maskwatch import closer, turns
from maskwatch.codec import ImageSource, Letterboxed, detections_of, letterbox, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import ImageError, ModelError, OptionError
from maskwatch.frames import Frame
from maskwatch.labels import LABELS
from maskwatch.model_card import ModelCard
from maskwatch.onnx_file import FLOAT, INT64, UINT8, Tensor
from maskwatch.onnx_session import DEVICES, Signature, open_model, providers_of, read_model_file
from maskwatch.suggest import did_you_mean, neighbours

if TYPE_CHECKING:
    from importlib.abc import Traversable

DEFAULT_MODEL = "small"
"""Name of the packaged model that is taken unless another is asked for; see MODEL_CARD.md for why."""
_T = TypeVar("_T")
LARGEST_MODEL_BYTES = 64 * 2**20
_SIGNATURE = Signature(
    inputs={
        "images": Tensor(UINT8, ("batch", "height", "width", "channels")),
        "score_threshold": Tensor(FLOAT, (1,)),
        "iou_threshold": Tensor(FLOAT, (1,)),
        "max_detections": Tensor(INT64, (1,)),
    },
    outputs={
        "image_index": Tensor(INT64, ("faces",)),
        "xyxy": Tensor(FLOAT, ("faces", 4)),
        "label_scores": Tensor(FLOAT, ("faces", len(LABELS))),
    },
)


@dataclass(frozen=True)
class DetectOptions:
    """What a detector can be told; None takes the model card's value.

    Attributes:
        score_threshold: faces below this score are left out, 0..1.
        iou_threshold: of two boxes that overlap more, the weaker is left out, 0..1.
        certainty_threshold: a label with a smaller share of the label scores is `uncertain`, 0..1.
        max_side: larger pictures are scaled down to this many px before detection; small ones are
            not blown up. None: 1024, and where a larger photo shows small faces then, or none, 2048.
        max_detections: most faces reported for one picture.
        turned: whether photos without a sure face are looked at turned by 90, 180 and 270°, too, as cameras
            leave some of them without an EXIF mark.
        threads: threads of one inference; 0 lets onnxruntime use all cores.
        device: what the network runs on: cpu, cuda, directml, coreml or openvino; operators that a device
            does not know run on the CPU. All but cpu need a wheel of onnxruntime that brings them.

    Raises:
        OptionError: a value is out of range.

    Examples:
        >>> from maskwatch import DetectOptions, Detector
        >>> picky = Detector(options=DetectOptions(score_threshold=0.999))
        >>> len(picky.detect("people.jpg"))
        0
    """

    score_threshold: float | None = None
    iou_threshold: float | None = None
    certainty_threshold: float | None = None
    max_side: int | None = None
    max_detections: int = 1000
    turned: bool = True
    threads: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold", "certainty_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name} must lie between 0 and 1, not {value}")
        for name, least in (("max_side", 32), ("max_detections", 1), ("threads", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} must be at least {least}, not {value}")
        if self.device not in DEVICES:
            means = did_you_mean(self.device, DEVICES)
            raise OptionError(f"device {self.device!r} is unknown; choose one of {', '.join(DEVICES)}{means}")


class Detector:
    """A loaded model, ready for pictures; safe to call from several threads.

    Raises:
        ModelError: the model file is missing, damaged, too large or no maskwatch model.
        OptionError: this machine's onnxruntime does not know the device asked for.

    Examples:
        >>> from maskwatch import Detector
        >>> detector = Detector()
        >>> faces = detector.detect("people.jpg")
        >>> sorted(faces.verdict_names)
        ['mask_worn_incorrectly', 'with_mask', 'with_mask', 'without_mask']
        >>> [len(one) for one in detector.detect(["people.jpg", "people.jpg"])]
        [4, 4]
    """

    def __init__(
        self, model: str | os.PathLike[str] | None = None, options: DetectOptions | None = None
    ) -> None:
        """Load `model`: an ONNX file, or a name of `packaged_models`; None loads the default one."""
        self.options = options or DetectOptions()
        name, data = read_model(model)
        opened = open_model(
            data, name, _SIGNATURE, threads=self.options.threads, providers=providers_of(self.options.device)
        )
        self._session = opened.session
        self.card = ModelCard.from_metadata(opened.metadata, name, opened.sha256)

    @overload
    def detect(self, image: ImageSource) -> Detections: ...

    @overload
    def detect(self, image: list[ImageSource] | tuple[ImageSource, ...]) -> list[Detections]: ...

    def detect(
        self, image: ImageSource | list[ImageSource] | tuple[ImageSource, ...]
    ) -> Detections | list[Detections]:
        """Find the faces of one picture, or of a batch: a list, a tuple or an array (b, h, w, 3).

        A picture is a path, encoded bytes, a PIL image, an RGB array (h, w, 3) uint8 or a `Frame`.
        Boxes are in the original's pixels, upright as EXIF says; faces come best first. A `Frame`, of a
        video or a camera, is looked at once; a photo again where that pays, see `DetectOptions`.

        Raises:
            ImageError: a picture cannot be read.
        """
        several = isinstance(image, list | tuple) or (isinstance(image, np.ndarray) and image.ndim == 4)
        sources: list[ImageSource] = list(image) if several else [image]  # type: ignore[arg-type, list-item]
        prepared = [self.prepare(one) for one in sources]
        turned, nearer = self.options.turned, self.options.max_side is None
        found = [
            faces
            if isinstance(source, Frame)
            else self.look_again(source, one, faces, turned=turned, nearer=nearer)
            for source, one, faces in zip(sources, prepared, self.detect_letterboxed(prepared), strict=True)
        ]
        return found if several else found[0]

    def prepare(self, image: ImageSource) -> Letterboxed:
        """Decode and scale one picture as `detect` does first; for callers that decode ahead.

        Raises:
            ImageError: it cannot be read.
        """
        return self._prepare(image, _or(self.options.max_side, closer.FIRST_SIDE))

    def _prepare(self, image: ImageSource, max_side: int) -> Letterboxed:
        picture = read_picture(image, needed_side=max_side)
        side = min(max_side, max(picture.image.shape[:2]))  # a caller may have decoded at a smaller scale
        return letterbox(picture, max_side=side, size_multiple=self.card.size_multiple)

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

    def look_again(
        self,
        image: ImageSource,
        one: Letterboxed,
        faces: Detections,
        *,
        turned: bool,
        nearer: bool,
        score_threshold: float | None = None,
    ) -> Detections:
        """The faces of a photo: `faces`, found at the first look at `one`, or better ones.

        The photo may lie on its side (`turned`), or be large with small faces (`nearer`).
        `score_threshold` is as for `detect_letterboxed`.

        Raises:
            ImageError: the picture cannot be read a second time.
        """
        way = 0
        if turned:
            way, faces = self._turned(one, faces, score_threshold)
        if nearer and closer.is_worth_it(one, faces, self.card.score_threshold):
            return self._look(self._prepare(image, closer.CLOSER_SIDE), way, score_threshold)
        return faces

    def _turned(
        self, one: Letterboxed, faces: Detections, score_threshold: float | None
    ) -> tuple[int, Detections]:
        """In how many quarter turns the photo shows its faces best, and these."""
        shown = turns.best_score(faces)
        if shown >= turns.SURE_SCORE:
            return 0, faces
        multiple = self.card.size_multiple
        small = turns.turned(one, 0, max_side=turns.GLANCE_SIDE, size_multiple=multiple)
        glances = self.detect_letterboxed(
            [turns.turned(small, way, size_multiple=multiple) for way in turns.OTHER_WAYS],
            score_threshold=turns.LEAST_SCORE,
        )
        way = turns.better_way(shown, [turns.best_score(glance) for glance in glances])
        if way == 0:
            return 0, faces
        found = self._look(one, way, score_threshold)
        return (way, found) if turns.is_better(turns.best_score(found), shown) else (0, faces)

    def _look(self, one: Letterboxed, way: int, score_threshold: float | None) -> Detections:
        """Faces of the picture, turned by `way` quarters for it, in its own pixels."""
        shown = turns.turned(one, way, size_multiple=self.card.size_multiple) if way else one
        [found] = self.detect_letterboxed([shown], score_threshold=score_threshold)
        return turns.turned_back(found, way, one.size_wh)

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
        except Exception as error:  # onnxruntime's errors share no base; a picture too large ends here
            height, width = images.shape[1:3]
            reason = str(error).splitlines()[0][:200]
            raise ImageError(f"{width}×{height} picture: the network failed on it ({reason})") from error
        if not (np.isfinite(xyxy).all() and np.isfinite(label_scores).all()):
            raise ModelError(f"{self.card.name}: answers with numbers that are none; take another model")
        return index, xyxy, label_scores


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def packaged_models() -> dict[str, Traversable]:
    """The models in the package by their short names, for example "small"."""
    folder = resources.files("maskwatch") / "models"
    prefix, suffix = "maskwatch-", ".onnx"
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(suffix)}
    return {name.removeprefix(prefix).removesuffix(suffix): files[name] for name in sorted(files)}


def read_model(model: str | os.PathLike[str] | None) -> tuple[str, bytes]:
    """Name and bytes of a model file, of a packaged model, or, for None, of the default one.

    Raises:
        ModelError: it cannot be read, or is larger than any model of ours.
    """
    packaged = packaged_models().get(DEFAULT_MODEL if model is None else os.fspath(model))
    if packaged is not None:
        return packaged.name, packaged.read_bytes()
    assert model is not None
    path, names = Path(model), list(packaged_models())
    means = "" if path.exists() else did_you_mean(path.name, [*names, *neighbours(path)])
    return str(path), read_model_file(
        path, LARGEST_MODEL_BYTES, f"check the path, or name one of {', '.join(names)}{means}"
    )
