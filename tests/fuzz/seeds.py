"""What fuzzing starts from: one sound input of every kind, made here, nothing of anybody else's."""

from __future__ import annotations

import io
import json
import sqlite3
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import PIL.Image

from tests.clips import make_clip, numbered

PICTURE_KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM", "AVIF")


@cache
def _gradient() -> PIL.Image.Image:
    y, x = np.mgrid[:48, :64].astype(np.uint8)
    return PIL.Image.fromarray(np.dstack([4 * x, 5 * y, x + y]))


def picture(kind: str, **options: object) -> bytes:
    """A small picture as the bytes of a file."""
    buffer = io.BytesIO()
    _gradient().save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def tiny_png() -> bytes:
    """The smallest of them."""
    return picture("PNG")


def pictures() -> list[bytes]:
    """Every format, and the rarer forms of the common ones."""
    found = [picture(kind) for kind in PICTURE_KINDS]
    grey = _gradient().convert("L")
    for kind, image, options in (
        ("JPEG", _gradient().convert("CMYK"), {}),
        ("JPEG", _gradient(), {"progressive": True}),
        ("PNG", PIL.Image.fromarray(np.asarray(grey, np.uint16) * 257), {}),
        ("PNG", _gradient().convert("RGBA"), {}),
        ("WEBP", _gradient().convert("RGBA"), {"lossless": True}),
        ("GIF", grey, {"save_all": True, "append_images": [grey.rotate(90)]}),
        ("TIFF", _gradient(), {"compression": "tiff_lzw"}),
        ("JPEG2000", grey, {"no_jp2": True}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


@cache
def clip(suffix: str, codec: str = "libx264", frames: int = 6) -> bytes:
    """A short video as the bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        make_clip(path, [numbered(n, 64, 48) for n in range(frames)], rate=Fraction(10), codec=codec)
        return path.read_bytes()


def videos() -> list[bytes]:
    """Containers and codecs that people have."""
    return [
        clip(".mp4"),
        clip(".mkv"),
        clip(".ts"),
        clip(".avi", "mpeg4"),
        clip(".mov", "mpeg4"),
        clip(".mp4").replace(b"avc1", b"zzzz"),  # a codec that nobody knows; found by atheris
        pictures()[4],
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ]


def models() -> list[bytes]:
    """The shipped detector, and, where `onnx` is installed, a tiny one of the same signature."""
    packaged = resources.files("maskwatch") / "models" / "maskwatch-small.onnx"
    return [tiny_detector() or packaged.read_bytes()]


@cache
def tiny_detector() -> bytes:
    """A detector that finds nothing, in a kilobyte; b"" without the package `onnx`."""
    try:
        from onnx import TensorProto, helper
    except ImportError:
        return b""
    from maskwatch import Detector

    types = {"images": TensorProto.UINT8, "score_threshold": TensorProto.FLOAT}
    types |= {"iou_threshold": TensorProto.FLOAT, "max_detections": TensorProto.INT64}
    inputs = [
        helper.make_tensor_value_info(name, kind, ["b", "h", "w", "c"] if name == "images" else [1])
        for name, kind in types.items()
    ]
    outputs = [
        helper.make_tensor_value_info("image_index", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("xyxy", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("label_scores", TensorProto.FLOAT, ["n", 3]),
    ]
    nodes = [
        helper.make_node("Sub", ["max_detections", "max_detections"], ["image_index"]),
        helper.make_node("Expand", ["score_threshold", "four"], ["xyxy"]),
        helper.make_node("Expand", ["iou_threshold", "three"], ["label_scores"]),
    ]
    constants = [
        helper.make_tensor("four", TensorProto.INT64, [2], [1, 4]),
        helper.make_tensor("three", TensorProto.INT64, [2], [1, 3]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, Detector().card.to_metadata())
    return model.SerializeToString()


def keras_files() -> list[bytes]:
    """A Keras file of one dense layer, in both forms, written without Keras."""
    import zipfile

    import h5py

    layers = [
        {
            "class_name": "InputLayer",
            "config": {"name": "in", "batch_shape": [None, 8, 8, 3]},
            "inbound_nodes": [],
        },
        {"class_name": "Flatten", "config": {"name": "flatten"}, "name": "flatten", "inbound_nodes": []},
        {
            "class_name": "Dense",
            "config": {"name": "dense", "units": 2, "activation": "softmax"},
            "name": "dense",
        },
    ]
    layout = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((192, 2), np.float32)
        file["layers/dense/vars/1"] = np.zeros(2, np.float32)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("config.json", json.dumps(layout))
        made.writestr("metadata.json", "{}")
        made.writestr("model.weights.h5", weights.getvalue())
    legacy = io.BytesIO()
    with h5py.File(legacy, "w") as file:
        file.attrs["model_config"] = json.dumps(layout)
        outer = file.create_group("model_weights/dense")
        outer.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        outer["dense/kernel:0"] = np.zeros((192, 2), np.float32)
        outer["dense/bias:0"] = np.zeros(2, np.float32)
    return [archive.getvalue(), legacy.getvalue(), weights.getvalue()]


COCO = {
    "categories": [{"id": 1, "name": "with_mask"}, {"id": 2, "name": "no-mask"}],
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48, "set": "s"}],
    "annotations": [{"image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 40], "iscrowd": 0}],
}
_VOC = (
    b"<annotation><object><name>face_mask</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax>"
    b"<ymax>40</ymax></bndbox></object></annotation>"
)
_RULES = b"""without_mask_s = 0.5
compliance_below = 0.9
more_than = 0
wrong_counts = true
[[zones]]
name = "counter"
corners = [[0.1, 0.2], [0.9, 0.2], [0.9, 1.0]]
[[lines]]
name = "door"
start = [0.5, 0.0]
end = [0.5, 1.0]
"""
_SETTINGS = {"steps": 5, "sides": [64], "side_shares": [1.0], "network": {"slim_channels": 16}}
_CORRECTIONS = {"a.png": [{"bbox": [1, 2, 30, 40], "label": "with_mask", "moved": [2, 2, 20, 20]}]}
_REQUESTS = [
    b"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    b"GET /pictures/0 HTTP/1.1\r\nHost: localhost:80\r\nConnection: close\r\n\r\n",
    b"POST /state HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /pictures/" + b"9" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /state HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET http://[/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]


def event_files() -> list[bytes]:
    """An event file in good order, one cut off in mid-line, an empty one."""
    from maskwatch.sinks.lines import EVENT_COLUMNS

    line = json.dumps({"type": "event", "kind": "alert", "event_id": "an-id"}).encode()
    header = ",".join(EVENT_COLUMNS).encode()
    return [line + b"\n", line + b"\n" + line[:20], header + b"\n" + header[:40], b""]


def spools() -> list[bytes]:
    """A spool with one event and one row that is none."""
    from maskwatch.sinks.spool import TABLE

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool.db"
        db = sqlite3.connect(path)
        db.execute(TABLE)
        db.executemany(
            "INSERT INTO waiting (event_id, body) VALUES (?, ?)", [("a", '{"kind": "end"}'), ("b", "[")]
        )
        db.execute("PRAGMA user_version=1")
        db.commit()
        db.close()
        whole = path.read_bytes()
        return [whole, whole.replace(b"waiting", b"waitin\xff")]  # the second was found by atheris


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "image_bytes": pictures,
    "video_bytes": videos,
    "onnx_bytes": models,
    "keras_bytes": keras_files,
    "coco_json": lambda: [json.dumps(COCO).encode()],
    "voc_xml": lambda: [_VOC],
    "yolo_text": lambda: [
        b"names: ['no-mask', 'mask']\n\n1 0.5 0.25 0.25 0.5\n",
        b"names:\n  0: mask\n\n0 .5 .5 .1 .1",
    ],
    "rules_toml": lambda: [_RULES],
    "settings_json": lambda: [json.dumps(_SETTINGS).encode(), json.dumps(_CORRECTIONS).encode()],
    "event_lines": event_files,
    "spool_file": spools,
    "addresses": lambda: [b"admin\ncamera:554/ch1?channel=1", b"a/b?c#d\n@[::1]/x", b"rtsp://[x\n"],
    "http_request": lambda: _REQUESTS,
}
