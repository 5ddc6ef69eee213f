from pathlib import Path

import pytest

from maskwatch.sources.images import find_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/deep/d.jpeg", "notes.txt", "dir.jpg/e.bmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def relative(files):
    return [str(file.relative) for file in files]


def test_folders_are_searched_through_in_order(folder):
    assert relative(find_images([str(folder)])) == [
        "a.png",
        "b.JPG",
        "dir.jpg/e.bmp",
        "sub/c.webp",
        "sub/deep/d.jpeg",
    ]


def test_globs(folder):
    assert relative(find_images([f"{folder}/*.png", f"{folder}/**/*.jpeg"])) == ["a.png", "d.jpeg"]


def test_a_named_file_is_taken_whatever_its_suffix(folder):
    assert relative(find_images([str(folder / "notes.txt")])) == ["notes.txt"]


def test_a_file_named_twice_comes_once(folder):
    assert len(find_images([str(folder / "a.png"), f"{folder}/a.*", str(folder)])) == 5


def test_what_matches_nothing_is_kept_so_that_reading_names_it(folder):
    names = [str(folder / "gone.jpg"), f"{folder}/*.gone"]
    assert [str(file.path) for file in find_images(names)] == names


def test_a_file_whose_name_looks_like_a_glob(folder):
    odd = folder / "face[1].png"
    odd.touch()
    assert relative(find_images([str(odd)])) == ["face[1].png"]


def test_links_to_folders_are_not_followed(folder):
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(find_images([str(folder)])) == 5
