"""What is built is the same every time, and holds what it should."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(folder: Path, target: str) -> Path:
    """A wheel or source package, from a copy of the tree with times and rights of its own."""
    tree = folder / "tree"
    everywhere = shutil.ignore_patterns(".venv*", ".git", "__pycache__", ".*_cache")

    def ignored(path: str, names: list[str]) -> set[str]:
        outputs = {"runs", "dist", "checkpoints"} if Path(path) == ROOT else set()
        return everywhere(path, names) | outputs

    shutil.copytree(ROOT, tree, ignore=ignored)
    for number, path in enumerate(sorted(tree.rglob("*.py"))):
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    code = "from hatchling.cli import hatchling; hatchling()"
    subprocess.run(
        [sys.executable, "-c", code, "build", "-t", target, "-d", str(folder)],
        cwd=tree,
        env=environment,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (made,) = [path for path in folder.iterdir() if path.is_file()]
    return made


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_two_builds_are_the_same_bytes(tmp_path, target):
    pytest.importorskip("hatchling")
    made = []
    for name, mask in (("first", 0o022), ("second", 0o077)):
        folder = tmp_path / name
        folder.mkdir()
        before = os.umask(mask)
        try:
            made.append(build(folder, target))
        finally:
            os.umask(before)
    first, second = made
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    if target == "wheel":
        names = zipfile.ZipFile(first).namelist()
        assert "maskwatch/models/maskwatch-small.onnx" in names
        assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
        foreign = [name for name in names if name.endswith((".pt", ".jpg", ".h5"))]
        assert foreign == ["maskwatch/web/static/app/example.jpg"], "drawn on the public-domain portrait"
