"""The loop from sources through the detector to sinks; all threads of maskwatch live here."""

from maskwatch.pipeline.clips import ClipOptions, ClipSummary, process_clip
from maskwatch.pipeline.delivery import Delivery, open_deliveries, teller
from maskwatch.pipeline.drawing import drawn
from maskwatch.pipeline.images import DetectsFaces, ImageResult, detect_files
from maskwatch.pipeline.live import CameraStatus, LiveStep
from maskwatch.pipeline.people import PeopleWatch, WatchOptions
from maskwatch.pipeline.rounds import Rounds, watch_cameras
from maskwatch.pipeline.threads import Background, ordered_map, prefetch
from maskwatch.pipeline.video import VideoStep, watch_frames

__all__ = [
    "Background",
    "CameraStatus",
    "ClipOptions",
    "ClipSummary",
    "Delivery",
    "DetectsFaces",
    "ImageResult",
    "LiveStep",
    "PeopleWatch",
    "Rounds",
    "VideoStep",
    "WatchOptions",
    "detect_files",
    "drawn",
    "open_deliveries",
    "ordered_map",
    "prefetch",
    "process_clip",
    "teller",
    "watch_cameras",
    "watch_frames",
]
