"""A Label Studio ML backend that labels pictures before people do (pip install 'maskwatch[web]').

    LABEL_STUDIO_URL=http://127.0.0.1:8080 LABEL_STUDIO_API_KEY=… python examples/label_studio_backend.py

Then add http://127.0.0.1:9090 under Settings → Model of a project with an <Image> and <RectangleLabels>
whose labels are with_mask, without_mask and mask_worn_incorrectly, or any spelling maskwatch knows.
"""

from __future__ import annotations

import os
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from maskwatch import Detections, Detector, MaskwatchError
from maskwatch.datasets import label_index

MOST_BYTES = 20_000_000
detector = Detector()
version = f"{detector.card.name} {detector.card.version}"
app = FastAPI(title="maskwatch for Label Studio")


class Ask(BaseModel):
    """What Label Studio sends to /predict."""

    tasks: list[dict[str, Any]]
    label_config: str = ""


class Config(HTMLParser):
    """The parts of a labelling interface that say where boxes belong; expands no entities."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.image, self.key, self.boxes, self.names = "image", "image", "label", dict[int, str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        values = {name: value or "" for name, value in attrs}
        if tag == "image":
            self.image, self.key = values.get("name", "image"), values.get("value", "$image").lstrip("$")
        elif tag == "rectanglelabels":
            self.boxes = values.get("name", "label")
        elif tag == "label" and (label := label_index(values.get("value", ""))) is not None:
            self.names.setdefault(label, values["value"])


def fetch(address: str, host: str, key: str) -> bytes:
    """A task's picture: from Label Studio itself and from nowhere else, whatever the task says."""
    full = urljoin(host, address)
    if urlsplit(full)[:2] != urlsplit(host)[:2]:
        raise MaskwatchError(f"{address}: only pictures on {host} are fetched; upload it there")
    try:
        with httpx.stream("GET", full, headers={"Authorization": f"Token {key}"}, timeout=30) as answer:
            answer.raise_for_status()
            data = bytearray()
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise MaskwatchError(f"{address}: larger than {MOST_BYTES:,} bytes")
    except httpx.HTTPError as error:
        raise MaskwatchError(f"{full}: no picture came ({error})") from error
    return bytes(data)


def prediction(faces: Detections, size_wh: tuple[int, int], config: Config) -> dict[str, Any]:
    """Faces as Label Studio writes rectangles: percent of the picture's sides."""
    results = []
    for (x1, y1, x2, y2), label, score in zip(faces.xyxy, faces.label, faces.score, strict=True):
        if (name := config.names.get(int(label))) is None:
            continue
        across, down = 100 / size_wh[0], 100 / size_wh[1]
        place = {"x": x1 * across, "y": y1 * down, "width": (x2 - x1) * across, "height": (y2 - y1) * down}
        results.append(
            {
                "from_name": config.boxes,
                "to_name": config.image,
                "type": "rectanglelabels",
                "original_width": size_wh[0],
                "original_height": size_wh[1],
                "value": {key: float(value) for key, value in place.items()} | {"rectanglelabels": [name]},
                "score": float(score),
            }
        )
    sure = float(faces.score.mean()) if len(faces) else 0.0
    return {"result": results, "score": sure, "model_version": version}


@app.post("/predict")
def predict(ask: Ask) -> dict[str, Any]:
    """Rectangles for each task; none for one whose picture cannot be read, with the reason."""
    host = os.environ.get("LABEL_STUDIO_URL", "http://127.0.0.1:8080")
    config, answers = Config(ask.label_config), []
    for task in ask.tasks:
        try:
            data = fetch(str(task["data"][config.key]), host, os.environ.get("LABEL_STUDIO_API_KEY", ""))
            prepared = detector.prepare(data)
            (faces,) = detector.detect_letterboxed([prepared])
            answers.append(prediction(faces, prepared.size_wh, config))
        except (MaskwatchError, KeyError) as error:
            answers.append({"result": [], "score": 0.0, "model_version": version, "error": str(error)})
    return {"results": answers, "model_version": version}


@app.post("/setup")
def setup() -> dict[str, str]:
    """Label Studio asks this when a project is connected."""
    return {"model_version": version}


@app.get("/health")
@app.get("/")
def health() -> dict[str, str]:
    """Whether the backend is there."""
    return {"status": "UP", "model_class": "maskwatch"}


@app.post("/webhook")
@app.post("/train")
def learn_nothing() -> dict[str, str]:
    """Corrections train nothing here: export them and use `maskwatch train-detector`."""
    return {"status": "ok"}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=9090)
