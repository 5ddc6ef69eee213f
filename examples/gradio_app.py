"""A Gradio app: a picture or the webcam in, faces and a table out (pip install maskwatch gradio)."""

from __future__ import annotations

import numpy as np

from maskwatch import Detector, Summary, annotate

detector = Detector()


def look(image: np.ndarray | None) -> tuple[np.ndarray | None, list[list[object]], str]:
    """The picture (h, w, 3) RGB with boxes, a row a face, and the counts in words."""
    if image is None:
        return None, [], ""
    faces = detector.detect(image)
    rows = [
        [number, face["verdict"], f"{face['score']:.0%}"] for number, face in enumerate(faces.to_dicts(), 1)
    ]
    return annotate(image, faces), rows, str(Summary().add(faces))


if __name__ == "__main__":
    import gradio

    table = gradio.Dataframe(headers=["face", "verdict", "sure"], label="Faces")
    outputs = [gradio.Image(label="Result"), table, gradio.Textbox(label="Summary")]
    picture = gradio.Image(type="numpy", sources=["upload", "webcam", "clipboard"], label="Picture")
    gradio.Interface(look, picture, outputs, title="maskwatch", flagging_mode="never").launch()
