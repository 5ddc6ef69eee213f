"""Find picture files: files, globs and folders become one ordered list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from maskwatch.files import is_folder
from maskwatch.frames import ImageFile

IMAGE_SUFFIXES: Final = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
    }
)
"""Files in folders are pictures by their suffix; a file named outright is tried whatever it is called."""


def find_images(patterns: Iterable[str]) -> list[ImageFile]:
    """Pictures named by files, globs (`**` too) and folders (searched through), each file once.

    A name that matches nothing is kept as it is: reading it names the error, and the others go on.
    """
    found: dict[Path, ImageFile] = {}
    for pattern in patterns:
        path = Path(pattern)
        if pattern and is_folder(path):  # "" is a variable that was not set, not this folder
            files = [ImageFile(file, file.relative_to(path)) for file in _pictures_below(path)]
        elif glob.has_magic(pattern) and not os.path.lexists(path):
            files = [ImageFile(match, Path(match.name)) for match in _matches(path) if _is_picture(match)]
            files = files or [ImageFile(path, Path(path.name))]
        else:
            files = [ImageFile(path, Path(path.name))]
        for file in files:
            found.setdefault(Path(os.path.abspath(file.path)), file)
    return list(found.values())


def _matches(pattern: Path) -> list[Path]:
    """What a pattern with `*` stands for; `**` does not follow links to folders, which may form circles."""
    anchor = Path(pattern.anchor)
    named = set(pattern.parts)
    parts = pattern.relative_to(anchor).parts
    try:
        found = sorted(anchor.glob(str(Path(*parts, "*") if parts[-1] == "**" else Path(*parts))))
    except (ValueError, OSError):  # a pattern that is none, such as "a**"
        return []
    # as in a shell, what is hidden must be named
    if pattern.name.startswith("."):
        named.update(path.name for path in found)
    return [path for path in found if not any(p.startswith(".") and p not in named for p in path.parts)]


def _pictures_below(folder: Path) -> list[Path]:
    """Pictures of a folder and its sub-folders by name; links to folders are not followed."""
    pictures = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        pictures += [path for path in (Path(parent, name) for name in sorted(names)) if _is_picture(path)]
    return pictures


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_folder(path)
