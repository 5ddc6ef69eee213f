"""The whole flow on one picture: file → detector → table, annotated copy."""

from __future__ import annotations

import json

import PIL.Image

from maskwatch import Detector
from maskwatch.frames import ImageFile
from maskwatch.pipeline import detect_files
from maskwatch.sinks.image_files import AnnotatedImages
from maskwatch.sinks.tables import JsonFile


def test_from_a_file_to_verdict_and_annotated_copy(tmp_path, masked, detector: Detector):
    path = tmp_path / "in" / "portrait.png"
    path.parent.mkdir()
    PIL.Image.fromarray(masked).save(path)
    files = [ImageFile(path, path.relative_to(path.parent))]
    copies = AnnotatedImages(tmp_path / "out", files)
    with JsonFile(str(tmp_path / "out.json"), detector.card) as table:
        for result in detect_files(files, detector, lambda one: copies.write(one.file, one.detections)):
            table.write(result.file.path, result.detections, result.error)

    content = json.loads((tmp_path / "out.json").read_text())
    (face,) = content["images"][0]["faces"]
    assert face["verdict"] == "with_mask"
    assert content["summary"]["compliance"] == 1.0
    drawn = PIL.Image.open(tmp_path / "out" / "portrait.png")
    assert drawn.size == (512, 512)
    assert drawn.tobytes() != PIL.Image.fromarray(masked).tobytes()
