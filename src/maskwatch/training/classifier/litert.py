"""The part of a LiteRT export that needs TensorFlow; runs as a process of its own.

Usage: python -m maskwatch.training.classifier.litert MODEL TARGET IMAGES.npy ANSWERS.npy; exit
code 3 says that TensorFlow is missing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np


def main(model: Path, target: Path, images: Path, answers: Path) -> int:
    """Convert `model`, run the result on `images`, and leave what it says in `answers`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError:
        return 3
    import keras

    network = keras.models.load_model(model, compile=False, safe_mode=True)
    converted = tf.lite.TFLiteConverter.from_keras_model(network).convert()
    target.write_bytes(converted)
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    rows = []
    for image in np.load(images, allow_pickle=False):
        interpreter.set_tensor(given, image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(result)[0])
    np.save(answers, np.stack(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:5])))
