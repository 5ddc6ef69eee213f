"""Is everything here that watching needs? Each check says what it found, or what to do."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from maskwatch.addresses import redact
from maskwatch.errors import MaskwatchError
from maskwatch.pipeline.stages import load_tracking
from maskwatch.sinks.receivers import open_receiver
from maskwatch.sources.camera import Camera, CameraState
from maskwatch.watch.config import CameraConfig, DetectorConfig, WatchConfig

PICTURES = (".jpg", ".png", ".webp", ".tiff")
RETRY_S = 0.2
CODECS = ("h264", "hevc", "mjpeg", "vp9", "av1")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        subject: what was looked at, without secrets.
        is_well: whether it works.
        words: what was found, or what is wrong and what to do.
    """

    subject: str
    is_well: bool
    words: str


def examine(config: WatchConfig | None, *, patience_s: float = 10.0) -> Iterator[Finding]:
    """Check the model and decoders, and every camera and receiver of `config`; never raises for them.

    Nothing is written to a receiver but the tables of a new database.
    """
    yield _checked("detector", lambda: _detector(config.detector if config else DetectorConfig()))
    yield _checked("picture decoders", _picture_decoders)
    yield _checked("video decoders", _video_decoders)
    yield _extras()
    if config is None:
        return
    for name, camera in config.cameras.items():
        yield _checked(f"camera {name}", lambda camera=camera: _camera(camera, patience_s))  # type: ignore[misc]
    sinks = dict.fromkeys(address for camera in config.cameras.values() for address in camera.sinks)
    for address in sinks:
        yield _checked(f"receiver {_shown(address)}", lambda to=address: _receiver(to, patience_s))  # type: ignore[misc]


def _shown(address: str) -> str:
    """An address fit for the screen; anything in apprise's may be a secret."""
    if address.startswith("apprise:"):
        return ":".join(address.split(":")[:2])
    return redact(address)


def _checked(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, check())
    except MaskwatchError as error:
        return Finding(subject, False, str(error))


def _detector(config: DetectorConfig) -> str:
    detector, _ = load_tracking(config.model, config.score_threshold, config.max_side, config.classifier)
    grey = np.full((config.max_side, config.max_side, 3), 128, dtype=np.uint8)
    detector.detect(grey)
    began = time.perf_counter()
    detector.detect(grey)
    spent_ms = (time.perf_counter() - began) * 1e3
    return f"{detector.card.name} {detector.card.version}, {spent_ms:.0f} ms for {config.max_side} px"


def _picture_decoders() -> str:
    image = np.full((16, 16, 3), 200, dtype=np.uint8)
    missing = []
    for suffix in PICTURES:
        try:
            done, data = cv2.imencode(suffix, image)
            works = done and cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
        except cv2.error:
            works = False
        if not works:
            missing.append(suffix)
    if missing:
        raise MaskwatchError(
            f"OpenCV cannot read {', '.join(missing)}; PyPI's wheels of opencv-python-headless can"
        )
    return f"OpenCV {cv2.__version__} reads {', '.join(PICTURES)}"


def _video_decoders() -> str:
    missing = [name for name in CODECS if name not in av.codecs_available]
    if missing:
        raise MaskwatchError(f"FFmpeg in PyAV cannot decode {', '.join(missing)}; PyPI's wheels of av can")
    return f"PyAV {av.__version__} decodes {', '.join(CODECS)}"


def _extras() -> Finding:
    """Which optional parts are here; their absence is no illness."""
    homes = {"sinks": "sqlalchemy", "notify": "apprise", "watch": "pydantic", "batch": "ray"}
    found = {extra: importlib.util.find_spec(module) is not None for extra, module in homes.items()}
    words = ", ".join(f"{extra} {'is here' if there else 'is not'}" for extra, there in found.items())
    return Finding("extras", True, words)


def _camera(config: CameraConfig, patience_s: float) -> str:
    """Wait for the first picture."""
    camera = Camera(config.source, config.camera_options())
    reason = "it says nothing"
    began = time.monotonic()
    try:
        for item in camera:
            if not isinstance(item, CameraState):
                frame = item.to_frame()
                width, height = frame.size_wh
                return f"{width}×{height}, first picture after {time.monotonic() - began:.1f} s"
            reason = item.reason or reason
            if item.state in ("lost", "ended") and time.monotonic() - began >= patience_s:
                break
            if item.state == "ended":
                break
    finally:
        camera.stop()
    raise MaskwatchError(
        f"{redact(config.source)}: no picture within {patience_s:g} s ({reason}); check address, password "
        "and network, for example with ffprobe"
    )


def _receiver(address: str, patience_s: float) -> str:
    """Connect to brokers and databases; the others are only understood, as calling them is an event."""
    scheme = address.split("://", 1)[0].split("+", maxsplit=1)[0] if "://" in address else ""
    is_database = scheme in ("postgresql", "postgres", "sqlite") or Path(address).suffix in (".db", ".sqlite")
    if not scheme and not is_database and ":" not in address:
        folder = Path(address).absolute().parent
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise MaskwatchError(f"{folder}: may not be written to; change its owner, or choose another file")
        return "can be written" if folder.is_dir() else f"{folder} will be made"
    receiver = open_receiver(address)
    try:
        if scheme not in ("mqtt", "mqtts") and not is_database:
            return "the address is understood; it was not called"
        ends = time.monotonic() + patience_s
        while True:
            try:
                receiver.send([])
                return "answers"
            except MaskwatchError as error:
                if time.monotonic() >= ends:
                    raise MaskwatchError(
                        f"{error}; check that it runs, the address, the password and the firewall"
                    ) from error
                time.sleep(RETRY_S)
    finally:
        receiver.close()
