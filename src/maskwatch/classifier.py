"""The second stage: a classifier that judges face crops, and a detector that asks it.

`TwoStage` looks like a `Detector`, so everything that takes one takes both stages as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.classifier_card import ClassifierCard, StagesCard
from maskwatch.codec import ImageSource, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import ImageError, ModelError
from maskwatch.frames import Image
from maskwatch.labels import LABELS, UNCERTAIN
from maskwatch.onnx_file import UINT8, Tensor
from maskwatch.onnx_session import Signature, open_model, read_model_file

LARGEST_MODEL_BYTES = 512 * 2**20
AT_ONCE = 64
_SIGNATURE = Signature(inputs={"images": Tensor(UINT8, ("n", "height", "width", 3))})


class FindsFaces(Protocol):
    """A first stage: `Detector`, or another that gives boxes."""

    @property
    def card(self) -> Any:
        """What it says of itself, with a `score_threshold`."""
        ...

    def detect(self, image: ImageSource, /) -> Detections:
        """Faces of one picture."""
        ...


class Classifier:
    """A loaded classifier of face crops; safe to call from several threads.

    Raises:
        ModelError: the file is missing, damaged, too large or no maskwatch classifier.

    Examples:
        >>> from maskwatch import Classifier
        >>> judge = Classifier("mask_detector.onnx")  # of `maskwatch train`
        >>> judge.card.classes
        ('with_mask', 'without_mask')
    """

    def __init__(self, model: str | os.PathLike[str], *, threads: int = 0) -> None:
        """Load `model`, an ONNX file that `maskwatch train` or `maskwatch export` wrote."""
        path = Path(model)
        if path.suffix.lower() in (".keras", ".h5", ".model"):
            raise ModelError(f"{path}: a Keras file; convert it first: maskwatch export {path}")
        data = read_model_file(path, LARGEST_MODEL_BYTES)
        opened = open_model(data, str(path), _SIGNATURE, threads=threads)
        self._session = opened.session
        self.card = ClassifierCard.from_metadata(opened.metadata, str(path), opened.sha256)

    def probabilities(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """(n, k) probabilities of RGB crops of any size, in the order of `card.classes`.

        Raises:
            ImageError: the network failed on them.
            ModelError: it answers with something else than probabilities.
        """
        found = [np.zeros((0, len(self.card.classes)), dtype=np.float32)]
        for start in range(0, len(crops), AT_ONCE):
            batch = np.stack([_fitted(crop, self.card.size_wh) for crop in crops[start : start + AT_ONCE]])
            try:
                (shares,) = self._session.run(None, {"images": batch})
            except Exception as error:  # onnxruntime's errors share no base but Exception
                reason = str(error).splitlines()[0][:200]
                raise ImageError(f"{len(batch)} crops: the classifier failed on them ({reason})") from error
            if shares.shape != (len(batch), len(self.card.classes)) or not np.isfinite(shares).all():
                raise ModelError(
                    f"{self.card.name}: answers {shares.shape} for {len(batch)} crops and "
                    f"{len(self.card.classes)} classes, or with numbers that are none; export it again"
                )
            found.append(shares.astype(np.float32, copy=False))
        return np.concatenate(found)

    def label_scores(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """(n, 3) probabilities by `maskwatch.LABELS`; classes of one label add up.

        Raises:
            ModelError: a class means none of the labels.
        """
        card = self.card
        if "" in card.labels:
            name = card.classes[card.labels.index("")]
            raise ModelError(
                f"{card.name}: its class {name!r} means no label of maskwatch; say which: "
                f"--label {name}=with_mask"
            )
        to_label = np.zeros((len(card.classes), len(LABELS)), dtype=np.float32)
        for row, label in enumerate(card.labels):
            to_label[row, LABELS.index(label)] = 1
        return self.probabilities(crops) @ to_label


class TwoStage:
    """Faces from one model, their labels from another: the tutorial's way, for any detector.

    A face's score stays the first stage's. Its label scores are that, times the root of the
    classifier's probability: scores of maskwatch are roots of products, and are compared squared.

    Examples:
        >>> from maskwatch import Classifier, Detector, TwoStage
        >>> stages = TwoStage(Detector(), Classifier("mask_detector.onnx"))
        >>> len(stages.detect("people.jpg"))
        4
    """

    def __init__(self, finder: FindsFaces, classifier: Classifier, *, margin: float | None = None) -> None:
        """`margin` overrides the classifier card's."""
        if "" in classifier.card.labels:
            classifier.label_scores([])  # says what is missing before the first picture
        self.finder = finder
        self.classifier = classifier
        self.margin = classifier.card.margin if margin is None else margin

    @property
    def card(self) -> StagesCard:
        """Both stages' names; thresholds of scores are the first one's."""
        first, second = self.finder.card, self.classifier.card
        return StagesCard(
            f"{first.name} + {second.name}",
            first.version,
            f"{first.sha256} + {second.sha256}",
            first.score_threshold,
        )

    def detect(self, image: ImageSource, /) -> Detections:
        """Faces of one picture with the classifier's labels; all its crops go in one call.

        Raises:
            ImageError: it cannot be read.
        """
        picture = read_picture(image)
        return self.judge(picture.image, self.finder.detect(picture.image))

    def judge(self, image: Image, found: Detections) -> Detections:
        """Faces that were found in `image` (h, w, 3), labelled anew by the classifier."""
        if not len(found):
            return found
        crops = [crop(image, box, self.margin) for box in found.xyxy]
        shares = self.classifier.label_scores(crops)
        label = shares.argmax(axis=1).astype(np.int8)
        sure = shares.max(axis=1) >= self.classifier.card.certainty_threshold
        return replace(
            found,
            label=label,
            label_scores=np.sqrt(shares) * found.score[:, None],
            verdict=np.where(sure, label, UNCERTAIN).astype(np.int8),
        )


def crop(image: Image, xyxy: npt.NDArray[np.float32], margin: float) -> Image:
    """The part of `image` inside a box that is grown by `margin` of its size, cut off at the border."""
    grow_x, grow_y = (xyxy[2:] - xyxy[:2]) * margin
    left, top = max(0, int(xyxy[0] - grow_x)), max(0, int(xyxy[1] - grow_y))
    left, top = min(left, image.shape[1] - 1), min(top, image.shape[0] - 1)
    right, bottom = int(np.ceil(xyxy[2] + grow_x)), int(np.ceil(xyxy[3] + grow_y))
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]


def _fitted(image: Image, size_wh: tuple[int, int]) -> Image:
    """Stretched to the network's size, as in training."""
    if (image.shape[1], image.shape[0]) == size_wh:
        return image
    shrinks = image.shape[0] > size_wh[1] and image.shape[1] > size_wh[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size_wh, interpolation=how).astype(np.uint8, copy=False)
