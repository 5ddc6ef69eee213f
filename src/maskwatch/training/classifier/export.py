"""`maskwatch export`: Keras files to ONNX, INT8 and LiteRT, each compared with the first."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from maskwatch.class_folders import SUFFIXES
from maskwatch.classifier import Classifier
from maskwatch.classifier_card import DEFAULT_MARGIN, ClassifierCard
from maskwatch.codec import read_picture
from maskwatch.errors import MissingExtraError, ModelError, OptionError
from maskwatch.files import write_whole
from maskwatch.frames import Image
from maskwatch.training.classifier.augment import resized
from maskwatch.training.classifier.convert import INPUT_RANGES, build, write_onnx
from maskwatch.training.classifier.keras_file import read_keras, with_size

CALIBRATION = 100
TWO_CLASSES = ("with_mask", "without_mask")
"""What two outputs without names mean: the tutorial's LabelBinarizer sorts its folders."""


@dataclass(frozen=True)
class Exported:
    """One file written, and how its answers differ from the Keras file's float ones.

    Attributes:
        path: the file.
        size_bytes: of it.
        largest_difference, mean_difference: of probabilities, over the pictures compared.
        agreement: share of pictures with the same class.
        pictures: how many were compared.
    """

    path: Path
    size_bytes: int
    largest_difference: float
    mean_difference: float
    agreement: float
    pictures: int


def export_onnx(
    model: Path,
    target: Path,
    *,
    classes: tuple[str, ...] | None = None,
    labels: Callable[[tuple[str, ...]], tuple[str, ...]],
    size_px: int | None = None,
    margin: float = DEFAULT_MARGIN,
    input_range: str = "-1..1",
) -> ClassifierCard:
    """Convert a Keras file to an ONNX file with its card, without running anything in it.

    `classes` are those of the card beside the model, or with_mask and without_mask for two outputs.

    Raises:
        ModelError: the file holds code, is damaged, or has layers that are not understood.
        OptionError: classes and outputs do not fit together.
    """
    if input_range not in INPUT_RANGES:
        raise OptionError(f"--input-range {input_range}: choose one of {', '.join(INPUT_RANGES)}")
    content = read_keras(model)
    if content.size_wh is None:
        content = with_size(content, (size_px or 224, size_px or 224))
    try:
        graph = build(content, input_range=input_range)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error
    outputs = _outputs(graph)
    earlier = _card_beside(model)
    if classes is None:
        classes = earlier.classes if earlier and len(earlier.classes) == outputs else None
    if classes is None and outputs == len(TWO_CLASSES):
        classes = TWO_CLASSES
    if classes is None or len(classes) != outputs:
        told = f"{len(classes)} names" if classes else "none"
        raise OptionError(
            f"{model}: it has {outputs} outputs; name their classes in order with --classes ({told})"
        )
    assert content.size_wh is not None
    card = ClassifierCard(
        name=model.stem,
        classes=classes,
        labels=labels(classes),
        size_wh=content.size_wh,
        margin=margin,
        parameters=content.parameters,
        trained_on=earlier.trained_on if earlier else f"unknown; converted from {model.name}",
        license=earlier.license if earlier else "that of the file it was converted from",
    )
    write_onnx(graph, card, target)
    return card


def _card_beside(model: Path) -> ClassifierCard | None:
    """The card of the ONNX file that `maskwatch train` wrote next to a Keras file."""
    beside = model.with_suffix(".onnx")
    try:
        return Classifier(beside).card if beside.is_file() else None
    except ModelError:
        return None


def _outputs(graph: onnx.ModelProto) -> int:
    inferred = onnx.shape_inference.infer_shapes(graph)
    inner = graph.graph.node[-1].input[0]
    for one in [*inferred.graph.value_info, *inferred.graph.output]:
        if one.name == inner:
            return int(one.type.tensor_type.shape.dim[-1].dim_value)
    raise ModelError("the last layer has no fixed number of outputs; use Dense with softmax")


def find_pictures(folder: Path | None) -> list[Path]:
    """Up to a hundred pictures from below a folder, evenly spread; none for None.

    Raises:
        OptionError: the folder has none.
    """
    if folder is None:
        return []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise OptionError(f"{folder}: no pictures to calibrate or compare with; name a folder of crops")
    step = max(1, len(paths) // CALIBRATION)
    return paths[::step][:CALIBRATION]


def samples(paths: Sequence[Path], card: ClassifierCard) -> list[Image]:
    """Pictures at the network's size; smooth random ones where there are no files."""
    side = card.size_wh[0]
    if paths:
        return [resized(read_picture(path, needed_side=2 * side).image, side) for path in paths]
    rng = np.random.default_rng(0)
    return [resized(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), side) for _ in range(32)]


def quantize(source: Path, target: Path, images: Sequence[Image]) -> None:
    """Write an INT8 version of an ONNX classifier: weights by channel, activations calibrated on `images`."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands one picture at a time to the calibration."""

        def __init__(self) -> None:
            self._left: Iterator[Image] = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {"images": image[None]}

    card = Classifier(source).card
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(made),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "Add", "Clip", "Pad", "AveragePool", "GlobalAveragePool"],
        )
        model = onnx.load(made)
    del model.metadata_props[:]
    helper.set_model_props(
        model, ClassifierCard(**{**asdict(card), "name": card.name + "-int8", "accuracy": None}).to_metadata()
    )
    write_whole(target, model.SerializeToString(), sync=True)


def compare(path: Path, wanted: npt.NDArray[np.float32], images: Sequence[Image]) -> Exported:
    """How an ONNX file answers on `images`, next to the probabilities `wanted`."""
    return _compared(path, Classifier(path).probabilities(images), wanted)


def _compared(path: Path, got: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> Exported:
    difference = np.abs(got - wanted)
    return Exported(
        path,
        path.stat().st_size,
        float(difference.max()),
        float(difference.mean()),
        float((got.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        len(wanted),
    )


def export_litert(
    model: Path, target: Path, images: Sequence[Image], wanted: npt.NDArray[np.float32]
) -> Exported:
    """Write a LiteRT (.tflite) file with TensorFlow, in a process of its own, and compare it.

    The model is read by our own reader first, so that Keras never meets one that holds code. Its
    input is float32 RGB, scaled as the model was trained.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: TensorFlow cannot convert it.
    """
    read_keras(model)
    with tempfile.TemporaryDirectory() as folder:
        pictures, answers = Path(folder) / "images.npy", Path(folder) / "answers.npy"
        np.save(pictures, np.stack(images).astype(np.float32) / 127.5 - 1)
        command = [sys.executable, "-m", "maskwatch.training.classifier.litert"]
        made = Path(folder) / "model.tflite"
        arguments = [str(one) for one in (model, made, pictures, answers)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode == 3:
            raise MissingExtraError("LiteRT files need TensorFlow: pip install tensorflow")
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise ModelError(f"{model}: TensorFlow cannot convert it ({reason[0]}); export ONNX instead")
        write_whole(target, made.read_bytes(), sync=True)
        return _compared(target, np.load(answers, allow_pickle=False), wanted)
