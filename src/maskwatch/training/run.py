"""One training run from a folder of labelled pictures to an ONNX file, in a run folder."""

from __future__ import annotations

import csv
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from maskwatch.closer import FIRST_SIDE
from maskwatch.datasets import LabelledImage, of_sets, read_coco
from maskwatch.detector import DetectOptions, Detector
from maskwatch.errors import TrainingError
from maskwatch.evaluate import WHOLE_CURVE_SCORE, Report, evaluate
from maskwatch.files import write_whole
from maskwatch.labels import LABELS
from maskwatch.model_card import ModelCard
from maskwatch.training.calibration import Calibration, calibrate
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import TrainConfig
from maskwatch.training.corrections import Corrections, corrected, read_corrections
from maskwatch.training.crops import Cropper, second_look
from maskwatch.training.export import SIZE_MULTIPLE, export_onnx
from maskwatch.training.loop import Progress, train
from maskwatch.training.network import MaskNet
from maskwatch.training.pictures import PictureCache
from maskwatch.training.prepare import FaceFinder, FoundFaces, find_all, prepare
from maskwatch.training.samples import SampleMaker
from maskwatch.training.teacher import teacher_of
from maskwatch.training.warm_start import load_mobilenet, load_yunet, widened

PICTURE_CACHE_BYTES = 6 * 2**30
LEAST_FITTED_SCORE = 0.02
"""Scores are calibrated on detections from this one on, before calibration."""
_ORIGINS = {
    "yunet": "layout and weights of YuNet (libfacedetection.train, Apache-2.0)",
    "mobilenet_v2": "MobileNetV2's ImageNet weights (Keras Applications, Apache-2.0)",
}
"""Whose work a network builds on, by its backbone."""
HOLDOUT_COLUMNS = ("step", "map_two", "face_ap", *(f"ap_{name}" for name in LABELS), "calibration_error")


@dataclass(frozen=True)
class RunPaths:
    """The files of one run folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        """The configuration as JSON."""
        return self.folder / "config.json"

    @property
    def found_faces(self) -> Path:
        """What the landmark model found, by picture."""
        return self.folder / "found.json"

    @property
    def curves(self) -> Path:
        """Losses as CSV."""
        return self.folder / "curves.csv"

    @property
    def holdout(self) -> Path:
        """Figures on the pictures kept out of training, as CSV."""
        return self.folder / "holdout.csv"

    @property
    def plot(self) -> Path:
        """Both as a picture."""
        return self.folder / "curves.png"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.folder / "model.onnx"

    @property
    def small_checkpoint(self) -> Path:
        """Averaged weights alone, to start another run from."""
        return self.folder / "small.pt"


def run(
    data: Sequence[Path],
    paths: RunPaths,
    config: TrainConfig,
    *,
    sets: str | None = None,
    init: Path | None = None,
    landmark_model: Path | None = None,
    corrections: Path | None = None,
    teachers: Sequence[Path] = (),
    report: Callable[[Progress], None] = lambda progress: None,
    report_holdout: Callable[[int, Report], None] = lambda step, figures: None,
) -> Path:
    """Train on COCO folders and export; goes on where the run folder's last checkpoint is.

    `sets`, parted by commas, limits it to pictures of these data sets;
    `init` is a YuNet checkpoint or one of ours to start from; `landmark_model` a YuNet ONNX file,
    without which no masks are drawn and unlabelled faces stay unnoticed; `corrections` a file that
    mends labels; `teachers` checkpoints of ours to imitate beside the labels. Returns the ONNX file.

    Raises:
        DatasetError, TrainingError, ModelError: as their messages say.
    """
    maker, holdout = samples_for(
        data, paths, config, sets=sets, landmark_model=landmark_model, corrections=corrections
    )

    teaching = [teacher_of(path, config.network.strides) for path in teachers]
    taught_by = [teacher.config.backbone for teacher in teaching]

    def look_at_holdout(network: MaskNet, step: int) -> None:
        export_onnx(network, card_of(network, Calibration(), taught_by=taught_by), paths.model)
        if holdout:
            figures = measure(unfiltered(paths.model), holdout)
            _append_holdout(paths.holdout, step, figures)
            report_holdout(step, figures)

    network = train(
        config,
        maker,
        paths.folder,
        start=None if init is None else lambda fresh: start_from(fresh, init),
        teachers=teaching,
        report=report,
        evaluate=look_at_holdout,
    )
    export_calibrated(network, holdout, paths.model, taught_by=taught_by)
    Checkpoint.load(paths.folder / "last.pt").small().save(paths.small_checkpoint)
    return paths.model


def samples_for(
    data: Sequence[Path],
    paths: RunPaths,
    config: TrainConfig,
    *,
    sets: str | None = None,
    landmark_model: Path | None = None,
    corrections: Path | None = None,
) -> tuple[SampleMaker, list[LabelledImage]]:
    """What makes samples of the pictures to train on, and those kept out; `config` goes into the run folder.

    Raises:
        DatasetError, TrainingError, ModelError: as their messages say.
    """
    write_whole(paths.config, config.to_json() + "\n")
    labelled = [image for folder in data for image in read_coco(folder)]
    images = of_sets(labelled, sets, ", ".join(map(str, data)))
    training, holdout = split_holdout(images, config.holdout_share)
    if not training:
        raise TrainingError(f"{', '.join(map(str, data))}: no pictures to train on; lower holdout_share")
    found: dict[str, FoundFaces] = {}
    if landmark_model is not None or paths.found_faces.is_file():
        finder = FaceFinder(landmark_model) if landmark_model is not None else None
        found = find_all(training, finder, paths.found_faces)
    mended: Corrections = {} if corrections is None else read_corrections(corrections)
    prepared = prepare(
        training,
        found,
        corrections=mended,
        loose_sets=config.loose_sets,
        loose_share=config.loose_share,
    )
    maker = SampleMaker(prepared, config, PictureCache(PICTURE_CACHE_BYTES))
    return maker, judging(holdout, mended, config)


def split_holdout(
    images: list[LabelledImage], share: float
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Training and kept-out pictures; which is which depends on the file's name alone.

    A named data set without any labelled face is all for training: figures are of pictures of people.
    """
    of_people = {image.set_name for image in images if len(image.faces)} | {""}
    kept_out = [
        image.set_name in of_people and zlib.crc32(image.path.name.encode()) / 2**32 < share
        for image in images
    ]
    pairs = list(zip(images, kept_out, strict=True))
    return [image for image, out in pairs if not out], [image for image, out in pairs if out]


def judging(
    holdout: list[LabelledImage], corrections: Corrections, config: TrainConfig
) -> list[LabelledImage]:
    """The kept-out pictures that figures are measured on: labels mended, sets with loose boxes left out."""
    return [
        corrected(image, corrections.get(image.path.name, ()))[0]
        for image in holdout
        if image.set_name not in config.loose_sets
    ]


class Holdout(NamedTuple):
    """Pictures that a training keeps out."""

    judging: list[LabelledImage]
    """Those that figures are measured on, see `judging`."""
    loose: list[LabelledImage]
    """Those of the sets with loose boxes, as labelled."""


def holdout_of(data: Path, corrections: Path | None, config: TrainConfig) -> Holdout:
    """The pictures of a COCO folder that a training by `config` keeps out.

    Raises:
        DatasetError, TrainingError: the folder or the file of corrections cannot be read.
    """
    _, holdout = split_holdout(list(read_coco(data)), config.holdout_share)
    mended: Corrections = {} if corrections is None else read_corrections(corrections)
    loose = [image for image in holdout if image.set_name in config.loose_sets]
    return Holdout(judging(holdout, mended, config), loose)


def unfiltered(model: Path | str, threads: int = 0) -> Detector:
    """An exported or a packaged model that reports all it sees at one look: whole precision-recall curves."""
    options = DetectOptions(
        score_threshold=WHOLE_CURVE_SCORE, max_side=FIRST_SIDE, turned=False, threads=threads
    )
    return Detector(model, options)


def measure(detector: Detector, images: list[LabelledImage]) -> Report:
    """Figures of an `unfiltered` model on labelled pictures, at their own size up to 1024 px."""
    return evaluate(images, [detector.detect(image.path) for image in images])


def export_calibrated(
    network: MaskNet,
    holdout: list[LabelledImage],
    model: Path,
    *,
    taught_by: Sequence[str] = (),
    version: str = "1",
) -> Calibration:
    """Export `network` to `model` with scores and thresholds fitted to the pictures kept out of training."""
    card = partial(card_of, network, taught_by=taught_by, version=version)
    calibration = Calibration()
    export_onnx(network.first_stage(), card(calibration), model)
    if holdout:
        detector = Detector(model, DetectOptions(score_threshold=LEAST_FITTED_SCORE))
        cropper, found, looks = Cropper(), [], []
        for image in holdout:
            picture = detector.prepare(image.path)
            found += detector.detect_letterboxed([picture])
            if network.refiner is not None:
                found[-1], look = second_look(
                    network.refiner, cropper, picture, found[-1], detector.card.iou_threshold
                )
                looks.append(look)
        calibration = calibrate(holdout, found, looks or None)
    if holdout or network.refiner is not None:
        export_onnx(network, card(calibration), model, calibration)
    return calibration


def finish(checkpoint: Checkpoint, holdout: list[LabelledImage], paths: RunPaths, *, version: str) -> str:
    """Write the averaged network of `checkpoint` as a calibrated model and as a small checkpoint.

    Returns lines on its figures and on where it lies.
    """
    calibration = export_calibrated(checkpoint.averaged(), holdout, paths.model, version=version)
    checkpoint.small().save(paths.small_checkpoint)
    written = f"written: {paths.model}, {paths.small_checkpoint}"
    if not holdout:
        return written
    figures = measure(unfiltered(paths.model), holdout)
    return f"held out: mAP50 {figures.map_two:.4f}, face AP {figures.face_ap:.4f}; {calibration}\n{written}"


def start_from(network: MaskNet, path: Path) -> int:
    """Warm start from one of our checkpoints, YuNet's or Keras' MobileNetV2; the number of tensors taken.

    From ours, tensors of other shape are left as they are, so a changed layout can start from it; a wider
    stem starts with the same answers.

    Raises:
        TrainingError: it is none of them.
    """
    if path.suffix == ".h5":
        return load_mobilenet(network, path)
    try:
        checkpoint = Checkpoint.load(path)
    except TrainingError:
        return load_yunet(network, path)
    own = network.state_dict()
    copies = network.config.stem_channels // checkpoint.config.network.stem_channels
    offered = {
        name: widened(name, value, copies, own[name].shape)
        for name, value in checkpoint.average.items()
        if name in own
    }
    fitting = {name: value for name, value in offered.items() if value.shape == own[name].shape}
    network.load_state_dict({**own, **fitting})
    return len(fitting)


def card_of(
    network: MaskNet, calibration: Calibration, *, taught_by: Sequence[str] = (), version: str = "1"
) -> ModelCard:
    """The card of a freshly trained network; `taught_by` the backbones of the teachers that it imitated."""
    origins = [_ORIGINS[network.config.backbone]]
    if network.refiner is not None:
        origins.append(f"second stage: {_ORIGINS['mobilenet_v2']}")
    origins += [f"taught by a network of ours that builds on {_ORIGINS[backbone]}" for backbone in taught_by]
    return ModelCard(
        name=f"maskwatch-{network.config.name}",
        version=version,
        labels=LABELS,
        strides=network.config.strides,
        size_multiple=SIZE_MULTIPLE,
        score_threshold=calibration.score_threshold,
        iou_threshold=0.45,
        certainty_threshold=calibration.certainty_threshold,
        target_error=calibration.target_error,
        calibrated_on=calibration.detections,
        parameters=network.parameter_count(),
        trained_on="see MODEL_CARD.md",
        license="Apache-2.0",
        credits="; ".join(origins),
        commit=_commit(),
    )


def _commit() -> str:
    """Revision of the checkout this runs in, "" elsewhere."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _append_holdout(path: Path, step: int, figures: Report) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(HOLDOUT_COLUMNS)
        values = [figures.map_two, figures.face_ap, *figures.ap.values(), figures.calibration_error]
        writer.writerow([step, *(f"{value:.5f}" for value in values)])
