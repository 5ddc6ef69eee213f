"""Peers that are not in ../shared/peers: MediaPipe's model out of its wheel, the tutorial's trained anew."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

FOLDER = Path("runs") / "peers"
MEDIAPIPE = "mediapipe==0.10.21"
"""The last releases with the models inside; as a dependency it would ask for NumPy 1."""
_BLAZEFACE = "mediapipe/modules/face_detection/face_detection_short_range.tflite"


def blazeface() -> Path | None:
    """MediaPipe's short-range face detector as a TFLite file; None, and why printed, without it."""
    target = FOLDER / "blazeface_short_range.tflite"
    if target.is_file():
        return target
    wheels = FOLDER / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
    done = subprocess.run([*command, MEDIAPIPE], capture_output=True, text=True, check=False)
    found = sorted(wheels.glob("mediapipe-*.whl"))
    if done.returncode or not found:
        print(f"BlazeFace is left out: {MEDIAPIPE} could not be downloaded for this Python")
        return None
    with zipfile.ZipFile(found[-1]) as wheel:
        target.write_bytes(wheel.read(_BLAZEFACE))
    return target


def tutorial_classifier(shared: Path) -> Path:
    """The tutorial's MobileNetV2, trained with our `maskwatch train` and its defaults on its own pictures."""
    folder = FOLDER / "tutorial"
    target = folder / "mask_detector.onnx"
    if not target.is_file():
        print("training the tutorial's classifier (some minutes, once) …", flush=True)
        weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet_notop.weights.h5"
        command = [sys.executable, "-c", "from maskwatch.cli.app import main; main()", "train"]
        pictures = str(shared / "data" / "prajna")
        subprocess.run([*command, pictures, "-o", str(folder), "--weights", str(weights)], check=True)
    return target
