"""The tutorial's train_mask_detector.py: --dataset DIR [--plot plot.png] [--model mask_detector.keras]."""

import argparse
from pathlib import Path

from maskwatch.training.classifier.run import ClassifierPaths, Says, run

parser = argparse.ArgumentParser()
parser.add_argument("-d", "--dataset", required=True, type=Path, help="folder with a subfolder a class")
parser.add_argument("-p", "--plot", default=Path("plot.png"), type=Path)
parser.add_argument("-m", "--model", default=Path("mask_detector.keras"), type=Path)
parser.add_argument("-w", "--weights", help="MobileNetV2 weights, where there is no internet")
args = parser.parse_args()

paths = ClassifierPaths(args.model.parent / "mask_detector_run", args.model, args.plot)
says = Says(epoch=lambda one: print(f"epoch {one.number}: val_accuracy {one.val_accuracy:.4f}"))
run(args.dataset, paths, weights=args.weights, says=says)
print((paths.folder / "report.md").read_text())
