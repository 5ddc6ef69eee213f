"""Fuzz bodies shared by pytest and, later, a coverage-guided fuzzer: bytes in, no surprise out.

Each body may raise `MaskwatchError` inside, and nothing else may come out of it.
"""

from __future__ import annotations

from maskwatch.codec import letterbox, read_picture
from maskwatch.errors import MaskwatchError
from maskwatch.frames import check_image


def image_bytes(data: bytes) -> None:
    """Decode a picture and prepare it for the network."""
    try:
        picture = read_picture(data, needed_side=320)
    except MaskwatchError:
        return
    check_image(picture.image, "decoded")
    boxed = letterbox(picture, max_side=320, size_multiple=8)
    assert max(boxed.content_wh) <= 320
    assert boxed.pixels.shape[0] % 8 == boxed.pixels.shape[1] % 8 == 0
