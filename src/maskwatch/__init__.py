"""maskwatch: tell for every face whether a mask is worn, worn wrong, or not worn.

    from maskwatch import Detector

    for face in Detector().detect("photo.jpg").to_dicts():
        print(face["verdict"], face["box"])

The names below are the whole public interface; each is imported when first used.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from maskwatch._version import __version__

if TYPE_CHECKING:
    from maskwatch.annotate import annotate, blur_faces
    from maskwatch.classifier import Classifier, TwoStage
    from maskwatch.classifier_card import ClassifierCard
    from maskwatch.client import Client, ClientOptions
    from maskwatch.detections import Detections
    from maskwatch.detector import DetectOptions, Detector
    from maskwatch.errors import (
        DatasetError,
        ImageError,
        MaskwatchError,
        MissingExtraError,
        ModelError,
        OptionError,
        RejectedError,
        ServiceError,
        SourceError,
        TrainingError,
    )
    from maskwatch.frames import Frame
    from maskwatch.labels import LABELS, VERDICTS
    from maskwatch.model_card import ModelCard
    from maskwatch.notebook import show
    from maskwatch.opencv_faces import OpenCvFaces
    from maskwatch.summary import Summary

# Since 1.29 onnxruntime reports each session to its maker, and keeps a number of this machine and a
# database of reports in the user's folder. It reads this when it is imported; set it to 0 to have that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "LABELS": "labels",
    "VERDICTS": "labels",
    "Classifier": "classifier",
    "ClassifierCard": "classifier_card",
    "Client": "client",
    "ClientOptions": "client",
    "DatasetError": "errors",
    "DetectOptions": "detector",
    "Detections": "detections",
    "Detector": "detector",
    "Frame": "frames",
    "ImageError": "errors",
    "MaskwatchError": "errors",
    "MissingExtraError": "errors",
    "ModelCard": "model_card",
    "ModelError": "errors",
    "OpenCvFaces": "opencv_faces",
    "OptionError": "errors",
    "RejectedError": "errors",
    "ServiceError": "errors",
    "SourceError": "errors",
    "Summary": "summary",
    "TrainingError": "errors",
    "TwoStage": "classifier",
    "annotate": "annotate",
    "blur_faces": "annotate",
    "show": "notebook",
}

__all__ = [
    "LABELS",
    "VERDICTS",
    "Classifier",
    "ClassifierCard",
    "Client",
    "ClientOptions",
    "DatasetError",
    "DetectOptions",
    "Detections",
    "Detector",
    "Frame",
    "ImageError",
    "MaskwatchError",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "OpenCvFaces",
    "OptionError",
    "RejectedError",
    "ServiceError",
    "SourceError",
    "Summary",
    "TrainingError",
    "TwoStage",
    "__version__",
    "annotate",
    "blur_faces",
    "show",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `import maskwatch` itself costs nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'maskwatch' has no attribute {name!r}")
    value = getattr(import_module(f"maskwatch.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps a name such as `annotate` the function: importing the module of that name would replace it."""

    def __setattr__(self, name: str, value: object) -> None:
        is_home = isinstance(value, ModuleType) and _HOMES.get(name) == name
        super().__setattr__(name, getattr(value, name) if is_home else value)


sys.modules[__name__].__class__ = _Package
