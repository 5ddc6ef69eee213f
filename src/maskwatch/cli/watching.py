"""What the commands that watch cameras share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwatch.sources.camera import Camera


def name_apart(cameras: list[Camera]) -> None:
    """Give cameras of the same name a number each: names are how they are told apart."""
    names: dict[str, int] = {}
    for camera in cameras:
        names[camera.name] = names.get(camera.name, 0) + 1
        if names[camera.name] > 1:
            camera.name = f"{camera.name} ({names[camera.name]})"
