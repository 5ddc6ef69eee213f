"""`Window`: the live picture in a window of its own, where OpenCV was built with one."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import cv2

from maskwatch.errors import OptionError
from maskwatch.frames import Image

if TYPE_CHECKING:
    from typing_extensions import Self


class Window:
    """Shows pictures until `q` or Escape is pressed; a context manager.

    Raises:
        OptionError: this OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OptionError(
                "--window needs a screen and an OpenCV with windows: pip uninstall opencv-python-headless, "
                "pip install opencv-python; or leave it out and open the page"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyWindow(self._title)

    def show(self, image: Image) -> bool:
        """Show an RGB picture (h, w, 3); False once the user wants to stop."""
        cv2.imshow(self._title, image[..., ::-1])
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)
