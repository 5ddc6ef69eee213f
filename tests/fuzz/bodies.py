"""Fuzz bodies shared by pytest, with Hypothesis, and by atheris: bytes in, no surprise out.

Each body may raise `MaskwatchError` inside, and nothing else may come out of it; `BODIES` lists them.
A new input (a server's request, a list of cameras) is one more function here, with its seeds in `seeds.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from maskwatch.addresses import origin_of, redact
from maskwatch.annotate import annotate, blur_faces
from maskwatch.codec import letterbox, read_picture
from maskwatch.curation.convert import read_labels
from maskwatch.datasets import read_coco
from maskwatch.detections import Detections
from maskwatch.detector import Detector
from maskwatch.errors import MaskwatchError
from maskwatch.events import Event
from maskwatch.frames import check_image
from maskwatch.rules_file import read_rules
from maskwatch.sinks.lines import open_events
from maskwatch.sinks.receivers import EventFile, open_receiver
from maskwatch.sinks.spool import Spool, SpooledEvent
from maskwatch.sources.camera import Camera
from maskwatch.sources.video import VideoFile
from maskwatch.training.config import TrainConfig
from maskwatch.training.corrections import read_corrections
from maskwatch.web.live_page import LivePage

MOST_FRAMES = 20
SECRET = "pAssW0rd-7f3a"
EVENT = Event("alert", "door", 1.0, 2.0, track_id=3, verdict="without_mask", message="x").to_dict()


@cache
def _folder() -> Path:
    """One folder for all files of this process, in memory where there is such a place."""
    shm = Path("/dev/shm")
    place = tempfile.TemporaryDirectory(prefix="maskwatch-fuzz-", dir=shm if shm.is_dir() else None)
    _kept.append(place)
    return Path(place.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _face(width: int, height: int) -> Detections:
    """One bare face that fills a picture."""
    box = np.array([[0, 0, width, height]], np.float32)
    return Detections(xyxy=box, score=np.ones(1, np.float32), label=np.ones(1, np.int8))


def image_bytes(data: bytes) -> None:
    """Decode a picture, prepare it for the network, draw on it."""
    try:
        picture = read_picture(data, needed_side=320)
    except MaskwatchError:
        return
    check_image(picture.image, "decoded")
    boxed = letterbox(picture, max_side=320, size_multiple=8)
    assert max(boxed.content_wh) <= 320
    assert boxed.pixels.shape[0] % 8 == boxed.pixels.shape[1] % 8 == 0
    width, height = picture.size_wh
    face = _face(width, height)
    if picture.image.size < 2**22:
        annotate(picture.image, face)
        blur_faces(picture.image, face)


def video_bytes(data: bytes) -> None:
    """Read the first frames of a video; times always go on."""
    try:
        with VideoFile(_file("clip.bin", data)) as video:
            last_s = -1.0
            for frame in itertools.islice(video, MOST_FRAMES):
                assert last_s < frame.pts_s < 1e7
                last_s = frame.pts_s
    except MaskwatchError:
        return


def onnx_bytes(data: bytes) -> None:
    """Load a detector, and let it look at a small picture."""
    with contextlib.suppress(MaskwatchError):
        Detector(_file("model.onnx", data)).detect(np.zeros((32, 40, 3), np.uint8))


def keras_bytes(data: bytes) -> None:
    """Read a Keras file as `maskwatch export` does, and the checks before Keras reads one itself."""
    from maskwatch.training.classifier.keras_file import read_keras
    from maskwatch.training.hdf5 import check_state_file

    path = _file("model.keras", data)
    for read in (read_keras, check_state_file):
        with contextlib.suppress(MaskwatchError):
            read(path)


def coco_json(data: bytes) -> None:
    """Read COCO annotations; what is read has boxes that lie somewhere."""
    try:
        images = read_coco(_file("coco.json", data))
    except MaskwatchError:
        return
    for image in images:
        assert np.isfinite(image.faces.xyxy).all()
        assert _folder() in image.path.parents


def voc_xml(data: bytes) -> None:
    """Read Pascal VOC labels."""
    _labels("a.xml", data)


def yolo_text(data: bytes) -> None:
    """Read YOLO labels: before an empty line the names as YAML, behind it a label file."""
    names, _, rows = data.partition(b"\n\n")
    _labels("a.txt", rows, names)


def _labels(name: str, data: bytes, names: bytes | None = None) -> None:
    from tests.fuzz.seeds import tiny_png

    folder = _folder() / name.replace(".", "-")
    if not folder.exists():
        _file(f"{folder.name}/a.png", tiny_png())
    _file(f"{folder.name}/{name}", data)
    if names is not None:
        _file(f"{folder.name}/data.yaml", names)
    try:
        images = read_labels(folder, "voc" if name.endswith("xml") else "yolo")
    except MaskwatchError:
        return
    assert all(np.isfinite(image.faces.xyxy).all() for image in images)


def rules_toml(data: bytes) -> None:
    """Read rules, and let them judge a face."""
    from maskwatch.events import RuleBook

    try:
        rules = read_rules(_file("rules.toml", data))
    except MaskwatchError:
        return
    book = RuleBook(rules, "door")
    face = replace(_face(20, 20), track_id=np.array([1]))
    for step in range(3):
        for event in book.update(face, float(step), (64, 48)):
            json.dumps(event.to_dict(), allow_nan=False)


def settings_json(data: bytes) -> None:
    """Read training options, and corrections of labels."""
    path = _file("settings.json", data)
    for read in (TrainConfig.from_file, read_corrections):
        with contextlib.suppress(MaskwatchError):
            read(path)


def event_lines(data: bytes) -> None:
    """Go on with an event file that a crash, a full disk or a foreign program left behind."""
    for suffix in (".jsonl", ".csv"):
        path = _file(f"events{suffix}", data)
        try:
            receiver = EventFile(path)
            receiver.send([SpooledEvent(1, "an-id", EVENT)])
            receiver.send([SpooledEvent(1, "an-id", EVENT)])
            receiver.close()
        except MaskwatchError:
            continue
        written = path.read_bytes()
        assert written.endswith(b"\n")
        assert written.count(b"an-id") <= data.count(b"an-id") + 1
        with open_events(path, append=True) as again:
            again.stored_ids()


def spool_file(data: bytes) -> None:
    """Open a spool that is damaged, and use it."""
    for old in _folder().glob("spool.db*"):
        old.unlink()
    try:
        spool = Spool(_file("spool.db", data))
    except MaskwatchError:
        return
    spool.add(EVENT)
    events = spool.oldest(5)
    assert events
    spool.remove(events)
    spool.close()


def addresses(data: bytes) -> None:
    """Show addresses of cameras and receivers without the password that is in them."""
    before, _, after = data.decode("utf-8", "surrogateescape").partition("\n")
    for start in (
        f"{before}:{SECRET}@{after}",
        f"rtsp://{before}:{SECRET}@{after}",
        f"http://{before}?pw={SECRET}",
    ):
        assert SECRET not in redact(start)
        redact(start).encode()
        assert SECRET not in origin_of(f"https://{before or 'host'}/{SECRET}")
        for open_one in (Camera, open_receiver):
            if open_one is open_receiver and not start.startswith(("rtsp:", "ftp:")):
                continue  # would open a file or a connection
            words = ""
            try:
                open_one(start)
            except MaskwatchError as error:
                words = str(error)
            assert SECRET not in words


@cache
def _page() -> LivePage:
    page = LivePage(port=0).__enter__()
    _open_pages.append(page)
    return page


_open_pages: list[LivePage] = []


def http_request(data: bytes) -> None:
    """Send bytes to the live page: it answers with a status of its own, or hangs up, and lives on."""
    page = _page()
    address = page.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=5) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        link.settimeout(5)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while (part := link.recv(4096)) and len(answer) < 4096:
                answer += part
    if answer.startswith(b"HTTP/"):
        assert answer[9:10] in (b"2", b"4", b"5")
        assert answer[9:12] != b"500"


Body = Callable[[bytes], None]
BODIES: dict[str, Body] = {
    body.__name__: body
    for body in (
        image_bytes,
        video_bytes,
        onnx_bytes,
        keras_bytes,
        coco_json,
        voc_xml,
        yolo_text,
        rules_toml,
        settings_json,
        event_lines,
        spool_file,
        addresses,
        http_request,
    )
}


@contextlib.contextmanager
def cleaned_up() -> Iterator[None]:
    """Release what the bodies keep open for their process."""
    try:
        yield
    finally:
        _page.cache_clear()
        _folder.cache_clear()
        while _open_pages:
            _open_pages.pop().__exit__(None, None, None)
        while _kept:
            _kept.pop().cleanup()
