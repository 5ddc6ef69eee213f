"""The fuzz bodies on random bytes and on damaged files of every format we read."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data

from tests.fuzz.bodies import image_bytes

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM")


def _encode(kind: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(data.astronaut()[:96:2, :128:2]).save(buffer, kind)
    return buffer.getvalue()


SEEDS = {kind: _encode(kind) for kind in FORMATS}
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.binary(max_size=600))
@MANY
def test_random_bytes(noise: bytes) -> None:
    image_bytes(noise)


@pytest.mark.parametrize("kind", FORMATS)
@given(changes=st.data())
@MANY
def test_damaged_files(kind: str, changes: st.DataObject) -> None:
    """Bytes overwritten, cut out or appended; headers more often than the rest."""
    damaged = bytearray(SEEDS[kind])
    for _ in range(changes.draw(st.integers(1, 6))):
        end = changes.draw(st.sampled_from([40, 200, len(damaged)]))
        at = changes.draw(st.integers(0, min(end, len(damaged) - 1)))
        damaged[at] = changes.draw(st.integers(0, 255))
    cut = changes.draw(st.integers(0, len(damaged)))
    whole = changes.draw(st.booleans())
    image_bytes(bytes(damaged if whole else damaged[:cut]))
