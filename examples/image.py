"""The tutorial's detect_mask_image.py: --image FILE [--face DIR] [--model FILE.onnx] [--confidence 0.5]."""

import argparse
from pathlib import Path

from maskwatch import Classifier, OpenCvFaces, TwoStage, annotate
from maskwatch.codec import encode_image, read_picture

parser = argparse.ArgumentParser()
parser.add_argument("-i", "--image", required=True)
parser.add_argument("-f", "--face", default="face_detector", type=Path, help="OpenCV's SSD: .pb and .pbtxt")
parser.add_argument("-m", "--model", default="mask_detector.onnx")
parser.add_argument("-c", "--confidence", default=0.5, type=float)
parser.add_argument("-o", "--output", default=Path("output.jpg"), type=Path)
args = parser.parse_args()

detector = TwoStage(OpenCvFaces(args.face, args.confidence), Classifier(args.model))
image = read_picture(args.image).image
faces = detector.detect(image)
for face in faces.to_dicts():
    print(f"{face['verdict']}: {face['score']:.2%}", face["box"])
args.output.write_bytes(encode_image(annotate(image, faces), args.output.suffix))
