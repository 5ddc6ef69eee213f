"""The gallery of failures: its draws show the face they say, and its page lists every case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.gallery import DRAWS, FACE_PX, bare, cases, draw, masked

from maskwatch.labels import LABELS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "failures.md"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_each_case_shows_its_face(case, detector):
    shown = draw(case, 0, detector)
    height, width = shown.image.shape[:2]
    assert shown.image.dtype == np.uint8
    assert (shown.face[:2] >= 0).all()
    assert (shown.face[2:] <= [width, height]).all()
    least, most = case.face_px
    sides = shown.face[2:] - shown.face[:2]
    assert least * 0.75 <= sides.max() <= most * 1.05
    again = draw(case, 0, detector)
    np.testing.assert_array_equal(shown.image, again.image)


@pytest.mark.parametrize("way", [bare, masked("surgical")])
def test_easy_cases_are_found_and_rightly_labelled(way, detector):
    case = next(case for case in cases() if case.name == ("bare" if way is bare else "surgical mask"))
    assert case.face_px == FACE_PX
    assert draw(case, 1, detector).own.verdict_names == [LABELS[case.truth]]


def test_the_page_has_every_case():
    text = PAGE.read_text(encoding="utf-8")
    assert f"in {DRAWS} draws" in text
    assert [case.name for case in cases() if f"\n| {case.name} | {LABELS[case.truth]} |" not in text] == []
