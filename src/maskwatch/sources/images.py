"""Find picture files: files, globs and folders become one ordered list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

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
        if path.is_dir():
            files = [ImageFile(file, file.relative_to(path)) for file in _pictures_below(path)]
        elif not path.exists() and glob.has_magic(pattern):
            matches = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
            files = [ImageFile(match, Path(match.name)) for match in matches if _is_picture(match)]
            files = files or [ImageFile(path, Path(path.name))]
        else:
            files = [ImageFile(path, Path(path.name))]
        for file in files:
            found.setdefault(Path(os.path.abspath(file.path)), file)
    return list(found.values())


def _pictures_below(folder: Path) -> list[Path]:
    """Pictures of a folder and its sub-folders by name; links to folders are not followed."""
    pictures = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        pictures += [path for path in (Path(parent, name) for name in sorted(names)) if _is_picture(path)]
    return pictures


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
