"""The tutorial's pipeline on a video: --video FILE [--face DIR] [--model FILE.onnx] [--confidence 0.5]."""

import argparse
from pathlib import Path

from maskwatch import Classifier, OpenCvFaces, TwoStage
from maskwatch.pipeline import process_clip

parser = argparse.ArgumentParser()
parser.add_argument("-v", "--video", required=True, type=Path)
parser.add_argument("-f", "--face", default="face_detector", type=Path, help="OpenCV's SSD: .pb and .pbtxt")
parser.add_argument("-m", "--model", default="mask_detector.onnx")
parser.add_argument("-c", "--confidence", default=0.5, type=float)
parser.add_argument("-o", "--output", default=Path("output.mp4"), type=Path)
args = parser.parse_args()

detector = TwoStage(OpenCvFaces(args.face, args.confidence), Classifier(args.model))
print(process_clip(args.video, args.output, detector))
