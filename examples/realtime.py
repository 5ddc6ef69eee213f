"""The tutorial's detect_mask_video.py: [--face DIR] [--model FILE.onnx] [--confidence 0.5]; q ends it."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from maskwatch import Classifier, OpenCvFaces, TwoStage, annotate
from maskwatch.pipeline import LiveStep, watch_cameras
from maskwatch.sinks.window import Window
from maskwatch.sources.camera import Camera

parser = argparse.ArgumentParser()
parser.add_argument("-f", "--face", default="face_detector", type=Path, help="OpenCV's SSD: .pb and .pbtxt")
parser.add_argument("-m", "--model", default="mask_detector.onnx")
parser.add_argument("-c", "--confidence", default=0.5, type=float)
parser.add_argument("-s", "--source", default="0", help="camera number, address or file")
args = parser.parse_args()

detector = TwoStage(OpenCvFaces(args.face, args.confidence), Classifier(args.model))
stop = threading.Event()
with Window("Frame") as window:

    def show(step: LiveStep) -> None:
        """Show the newest picture."""
        if step.frame is not None and not window.show(annotate(step.frame.image, step.detections)):
            stop.set()

    watch_cameras([Camera(args.source)], detector, show, stop=stop)
