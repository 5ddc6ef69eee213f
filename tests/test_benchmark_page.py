"""The page of benchmarks and the README's table hold the figures of docs/benchmarks.json."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from benchmarks import page

ROOT = Path(__file__).resolve().parents[1]
CONTENT = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
NAMES = {
    "YuNet (finds faces only)": "YuNet 2023mar",
    "the tutorial: SSD + MobileNetV2": "tutorial: SSD + MobileNetV2",
}
"""What the README calls a model, and what the benchmarks do."""


def rows_of_readme() -> dict[str, list[str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## How good it is")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]
    return {NAMES.get(first, first): rest for first, *rest in cells}


@pytest.mark.parametrize("name", rows_of_readme())
def test_the_table_of_the_readme(name):
    mean, masked, small, at_320, at_640, size = rows_of_readme()[name]
    accuracy = CONTENT["accuracy"]["figures"][name]
    if accuracy["judges_masks"]:
        assert mean == f"{accuracy['tight']['map_two']:.3f}"
    else:
        assert mean == "–"
    recall = accuracy["tight"]["recall"]["with_mask"]
    assert (masked, small) == (
        f"{recall['all']:.0%}".replace("%", " %"),
        f"{recall['16-32']:.0%}".replace("%", " %"),
    )
    speed = CONTENT["speed"]["figures"]
    assert at_320 == f"{speed['320 px, 1 threads'][name]:.1f}"
    assert at_640 == f"{speed['640 px, 1 threads'][name]:.1f}"
    cost = CONTENT["cost"]["figures"].get(name.replace("maskwatch-", ""))
    if cost is not None:  # the tutorial's two files are not in it
        assert size == f"{cost['bytes'] / 1e6:.1f} MB"


def test_the_page_shows_what_the_file_says():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("site_page", ROOT / "docs" / "_site" / "benchmarks.py")
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    assert set(CONTENT) <= set(site.SECTIONS), "a benchmark that no section shows"
    changed = json.loads(json.dumps(CONTENT))
    changed["accuracy"]["figures"]["maskwatch-small"]["tight"]["map_two"] = 0.123
    changed["accuracy"]["about"] = {"date": "2001-02-03", "commit": "abc1234", "machine": "an abacus"}
    text = "\n".join(site.page(changed))
    assert "| **maskwatch-small** | 0.123 |" in text
    assert "2001-02-03 · commit `abc1234` · an abacus" in text
    assert "| None |" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_results_become_the_file(tmp_path):
    figures = {
        "a model": {"tight": {"map_two": 0.123456789}, "curves": [1, 2], "macs": float("nan"), "n": 7.0}
    }
    (tmp_path / "accuracy.json").write_text(json.dumps(figures))
    (tmp_path / "unknown.json").write_text("{}")
    silent = json.loads(page.write(tmp_path, tmp_path / "out.json").read_text())
    assert silent["accuracy"]["figures"] == {
        "a model": {"tight": {"map_two": 0.123457}, "macs": None, "n": 7}
    }
    assert silent["accuracy"]["about"]["commit"] is None
    assert set(silent) == {"accuracy"}
    page.note(tmp_path, "accuracy")
    told = json.loads(page.write(tmp_path, tmp_path / "out.json").read_text())["accuracy"]["about"]
    assert "cores" in told["machine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", told["date"])
