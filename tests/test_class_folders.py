"""Class folders: what is alike stays together, and troubles are named."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest

from maskwatch.class_folders import (
    contact_sheet,
    difference_hash,
    group_alike,
    leaks,
    read_class_folders,
    report_words,
    split,
)
from maskwatch.errors import DatasetError


def test_scaled_and_mirrored_copies_are_one_group(astronaut):
    half = cv2.resize(astronaut, (200, 256), interpolation=cv2.INTER_AREA)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    other = np.ascontiguousarray(astronaut[200:500, 100:400])
    hashes = np.array([difference_hash(one) for one in (astronaut, other, half, mirrored)])
    groups = group_alike(hashes)
    assert groups[0] == groups[2] == groups[3]
    assert groups[1] != groups[0]


def test_a_split_divides_no_group_and_keeps_the_shares():
    targets = np.repeat([0, 1], 100)
    groups = np.arange(200) // 4
    out = split(targets, groups, 0.2, 42)
    assert leaks(out, groups) == 0
    assert 18 <= out[:100].sum() <= 22
    assert 18 <= out[100:].sum() <= 22
    plain = split(targets, np.arange(200), 0.2, 42)
    assert plain.sum() == 40
    assert leaks(plain, groups) > 10
    assert not np.array_equal(plain, split(targets, np.arange(200), 0.2, 43))
    with pytest.raises(DatasetError, match="too few or too alike"):
        split(targets, targets, 0.2, 42)


def test_the_report_names_duplicates_and_what_is_no_picture(tmp_path, astronaut, masked):
    for name, image in (("a", astronaut), ("b", masked)):
        (tmp_path / name).mkdir()
        PIL.Image.fromarray(image[50:250, 100:300]).save(tmp_path / name / "1.png")
    PIL.Image.fromarray(astronaut[300:, 300:]).save(tmp_path / "a" / "2.png")
    (tmp_path / "b" / "same.png").write_bytes((tmp_path / "a" / "2.png").read_bytes())
    (tmp_path / "a" / "cut.jpg").write_bytes(b"\xff\xd8")
    report = read_class_folders(tmp_path).report()
    assert report["classes"] == {"a": 2, "b": 2}
    assert report["exact_duplicates"] == 1
    assert len(report["same_picture_in_two_classes"]) == 1
    words = "\n".join(report_words(report))
    assert "1 unreadable, left out: a/cut.jpg" in words
    assert "1 pictures lie in two classes" in words


def test_too_few_classes_are_one_sentence(tmp_path):
    (tmp_path / "only").mkdir()
    with pytest.raises(DatasetError, match="classes with pictures: none; two subfolders are needed"):
        read_class_folders(tmp_path)


def test_a_contact_sheet_holds_every_picture():
    red = np.full((40, 20, 3), (200, 0, 0), np.uint8)
    sheet = contact_sheet([(red, "x")] * 3, columns=2, side=60)
    assert sheet.shape == (2 * 94, 120, 3)
    assert ((sheet == (200, 0, 0)).all(axis=2)).sum() == 3 * 54 * 27
