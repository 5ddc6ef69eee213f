"""Would the network be faster, and as accurate, in INT8? Static QDQ of onnxruntime, on training photos.

Only convolutions are quantised: decoding and suppression stay in floats. One thread, in turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from benchmarks.cost import one_thread, ours
from benchmarks.photos import tight_photos
from benchmarks.timing import in_turn
from maskwatch.codec import letterbox, read_picture
from maskwatch.datasets import LabelledImage
from maskwatch.detector import DetectOptions, Detector, packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, evaluate

FITTED_ON = 64
ROUNDS = 30


class _Photos(CalibrationDataReader):  # type: ignore[misc]
    """Training photos as the graph takes them."""

    def __init__(self, images: list[LabelledImage], feed: dict[str, npt.NDArray[Any]]) -> None:
        self._images, self._feed = iter(images), feed

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        image = next(self._images, None)
        if image is None:
            return None
        prepared = letterbox(read_picture(image.path), max_side=1024, size_multiple=8)
        return {**self._feed, "images": prepared.pixels[None]}


def run(shared: Path) -> dict[str, Any]:
    """Each packaged model in FP32 and INT8: tight mAP50 and face AP on val, ms at 640×480, bytes."""
    train = tight_photos(shared, "train")
    chosen = np.random.default_rng(0).choice(len(train), FITTED_ON, replace=False)
    val = tight_photos(shared)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable[[], object]] = {}
        for model, source in packaged_models().items():
            _, feed = ours(model)
            floats = Path(folder) / f"{model}.onnx"
            floats.write_bytes(source.read_bytes())
            quantised = Path(folder) / f"{model}-int8.onnx"
            quantize_static(
                floats,
                quantised,
                _Photos([train[index] for index in chosen], feed),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            for name, path in ((model, floats), (f"{model} INT8", quantised)):
                detector = Detector(path, DetectOptions(score_threshold=WHOLE_CURVE_SCORE, turned=False))
                report = evaluate(val, [detector.detect(image.path) for image in val])
                figures[name] = {
                    "tight": report.map_two,
                    "face": report.face_ap,
                    "bytes": path.stat().st_size,
                }
                calls[name] = partial(one_thread(path.read_bytes()).run, None, feed)
        best = in_turn(calls, ROUNDS)
    print("| | tight mAP50 | face AP | ms at 640×480 | kB |\n|---|---|---|---|---|")
    for name, one in figures.items():
        one["ms"] = best[name] * 1e3
        cells = f"{one['tight']:.4f} | {one['face']:.4f} | {one['ms']:.2f} | {one['bytes'] / 1e3:.0f}"
        print(f"| {name} | {cells} |")
    return figures
