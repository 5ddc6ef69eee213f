"""The loop from sources through the detector to sinks; all threads of maskwatch live here."""

from maskwatch.pipeline.clips import ClipOptions, ClipSummary, process_clip
from maskwatch.pipeline.images import DetectsFaces, ImageResult, detect_files
from maskwatch.pipeline.people import PeopleWatch
from maskwatch.pipeline.threads import Background, ordered_map, prefetch
from maskwatch.pipeline.video import VideoStep, watch_frames

__all__ = [
    "Background",
    "ClipOptions",
    "ClipSummary",
    "DetectsFaces",
    "ImageResult",
    "PeopleWatch",
    "VideoStep",
    "detect_files",
    "ordered_map",
    "prefetch",
    "process_clip",
    "watch_frames",
]
