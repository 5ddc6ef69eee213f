"""`cameras.toml`: what is watched, and how; every mistake is named by its place in the file.

    [detector]
    max_side = 640

    [defaults]                                    # for every camera that does not say otherwise
    fps = 5
    sinks = ["postgresql://maskwatch:${DB_PASSWORD}@db/site", "mqtt://broker/site"]

    [cameras.door]
    source = "rtsp://viewer:${DOOR_PASSWORD}@10.0.0.5/stream"

    [cameras.door.rules]                          # as in the file of --rules
    without_mask_s = 2.0

    [[cameras.door.rules.zones]]
    name = "counter"
    corners = [[0.1, 0.2], [0.9, 0.2], [0.9, 1.0], [0.1, 1.0]]

`${NAME}` stands for a variable of the environment, so that passwords need not be in the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from maskwatch.errors import MissingExtraError, OptionError
from maskwatch.events import Rules
from maskwatch.pipeline import WatchOptions
from maskwatch.rules_file import expand_variables, read_toml, rules_of
from maskwatch.sources.camera import CameraOptions
from maskwatch.sources.video import RightAngle
from maskwatch.suggest import did_you_mean
from maskwatch.tracker import TrackOptions

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
except ImportError as error:
    raise MissingExtraError.for_extra("watch", "pydantic", "watch") from error

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ .-]*")


class _Table(BaseModel):
    """A table of the file: no key that is not known, no value shown in errors (it may be a secret)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DetectorConfig(_Table):
    """The detector that all cameras share.

    Attributes:
        model, classifier: files; None for the packaged detector, and for no second stage.
        score_threshold: faces below it start no track.
        max_side: larger pictures are scaled down to this many px.
        at_once: pictures of different cameras in one batch. On a CPU batches cost more a picture than
            they save (docs/scale.md), so the default is 1: cameras share the detector in turn.
    """

    model: Path | None = None
    classifier: Path | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    max_side: Annotated[int, Field(ge=32)] = 640
    at_once: Annotated[int, Field(ge=1, le=64)] = 1


class CameraConfig(_Table):
    """One camera.

    Attributes:
        source: as on `maskwatch live`.
        fps: pictures looked at a second, at most; None: all that come.
        sinks: where its events go, as on `maskwatch live --sink`.
        rules: alerts, zones and lines, as in the file of `--rules`.
        aggregate_every_s: sum up this often.
        aggregate_only: tell nothing of single persons.
        most_fps: what a camera sends beyond this is thrown away undecoded.
        loop: start a file over at its end.
        rotate: degrees clockwise that make its pictures upright, where it hangs on its side.
    """

    source: Annotated[str, Field(min_length=1)]
    fps: Annotated[float, Field(gt=0)] | None = None
    sinks: tuple[str, ...] = ()
    rules: dict[str, Any] = Field(default_factory=dict)
    aggregate_every_s: Annotated[float, Field(gt=0)] | None = 60.0
    aggregate_only: bool = False
    most_fps: Annotated[float, Field(gt=0)] = 120.0
    loop: bool = False
    rotate: RightAngle = 0

    @field_validator("rules")
    @classmethod
    def _rules_hold(cls, value: dict[str, Any]) -> dict[str, Any]:
        rules_of(value, "rules")
        return value

    @model_validator(mode="after")
    def _something_to_tell(self) -> CameraConfig:
        if self.aggregate_only and self.aggregate_every_s is None:
            raise OptionError("aggregate_only needs aggregate_every_s, or there would be nothing to tell")
        return self

    def watch_options(self, track: TrackOptions) -> WatchOptions:
        """How its people are followed."""
        return WatchOptions(
            rules=rules_of(self.rules, "rules") if self.rules else Rules(),
            track=track,
            aggregate_every_s=self.aggregate_every_s,
            aggregate_only=self.aggregate_only,
        )

    def camera_options(self) -> CameraOptions:
        """How patient it is, and how it hangs."""
        return CameraOptions(loop=self.loop, most_fps=self.most_fps, rotate=self.rotate)


class WatchConfig(_Table):
    """The whole file.

    Attributes:
        detector: shared by all cameras.
        spool: folder where events wait for receivers that are away; None: the user's data folder.
        keep_days: delete rows of databases after so many days.
        cameras: by name.
    """

    detector: DetectorConfig = DetectorConfig()
    spool: Path | None = None
    keep_days: Annotated[float, Field(gt=0)] | None = None
    cameras: Annotated[dict[str, CameraConfig], Field(min_length=1)]

    @field_validator("cameras")
    @classmethod
    def _names_hold(cls, value: dict[str, CameraConfig]) -> dict[str, CameraConfig]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise OptionError(f"{name!r} is no name for a camera; use letters, digits, - _ . and spaces")
        return value


def read_config(path: Path) -> WatchConfig:
    """The configuration in a TOML file.

    Raises:
        OptionError: it cannot be read, or says something that cannot be; the message names each place.
    """
    content = expand_variables(read_toml(path), str(path))
    defaults = content.pop("defaults", {})
    cameras = content.get("cameras")
    if isinstance(defaults, dict) and isinstance(cameras, dict):
        content["cameras"] = {
            name: {**defaults, **one} if isinstance(one, dict) else one for name, one in cameras.items()
        }
    try:
        return WatchConfig.model_validate(content)
    except ValidationError as error:
        raise OptionError(f"{path}: " + "; ".join(_sentence(one) for one in error.errors())) from None


def _sentence(problem: Any) -> str:
    """One mistake: where it is and what to do, without the value."""
    place = ".".join(str(part) for part in problem["loc"]) or "the file"
    kind = problem["type"]
    if kind == "extra_forbidden":
        tables: list[type[BaseModel]] = [WatchConfig, DetectorConfig, CameraConfig]
        known = tables[min(3, len(problem["loc"])) - 1]
        means = did_you_mean(str(problem["loc"][-1]), known.model_fields)
        return f"{place} is no key that is known here; known are {', '.join(known.model_fields)}{means}"
    if kind == "missing":
        return f"{place} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"
