"""README, model card and the page of benchmarks hold the figures of docs/benchmarks.json."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from benchmarks import page, plots

ROOT = Path(__file__).resolve().parents[1]
CONTENT = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))
OURS = "maskwatch-small"
NAMES = {
    "YuNet (finds faces only)": "YuNet 2023mar",
    "the tutorial's SSD": "tutorial's SSD",
    "the tutorial: SSD + MobileNetV2": "tutorial: SSD + MobileNetV2",
}
"""What README and model card call a model, and what the benchmarks do."""


def rows(file: str, head: str) -> dict[str, list[str]]:
    """The cells of the one table whose first line begins with `head`, by their row's first cell."""
    text = (ROOT / file).read_text(encoding="utf-8")
    assert text.count(f"\n{head}") == 1, f"{file} has no table {head}"
    lines = text.partition(f"\n{head}")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().strip("*") for cell in line.strip().strip("|").split("|")] for line in lines]
    return {NAMES.get(first, first): rest for first, *rest in cells}


def rows_of_readme() -> dict[str, list[str]]:
    return rows("README.md", "| | tight mAP50 |")


def figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def site_page():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("site_page", ROOT / "docs" / "_site" / "benchmarks.py")
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    return site


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


ACCURACY = "| model | tight mAP50 |"
RECALL = "| model | all | 8–16 |"


@pytest.mark.parametrize("name", rows("MODEL_CARD.md", ACCURACY))
def test_the_model_cards_accuracy(name):
    found = CONTENT["accuracy"]["figures"][name]
    tight, ap = found["tight"], found["tight"]["ap"]
    first_two = [tight["map_two"], ap["with_mask"], ap["without_mask"]]
    loose = [found[group]["map_two"] for group in ("ditface3k", "mawear")]
    wrong = ap["mask_worn_incorrectly"] if found["ours"] else None  # no peer has the label
    wanted = [*first_two, wrong, tight["face_ap"], *loose]
    if not found["judges_masks"]:
        wanted = [None] * 4 + [tight["face_ap"], None, None]
    assert rows("MODEL_CARD.md", ACCURACY)[name] == [figure(value) for value in wanted]
    assert rows("MODEL_CARD.md", RECALL)[name] == [
        figure(one) for one in tight["recall"]["with_mask"].values()
    ]


def test_the_model_card_names_all_models_and_slices():
    models = set(CONTENT["accuracy"]["figures"])
    assert set(rows("MODEL_CARD.md", ACCURACY)) == set(rows("MODEL_CARD.md", RECALL)) == models
    kinds = {name.replace("all of at least 32 px", "all") for name in CONTENT["slices"]["figures"][OURS]}
    assert set(rows("MODEL_CARD.md", "| faces of at least 32 px |")) == kinds


@pytest.mark.parametrize("kind", rows("MODEL_CARD.md", "| faces of at least 32 px |"))
def test_the_model_cards_slices(kind):
    wanted = []
    for model in (OURS, "AIZOO 260"):
        one = CONTENT["slices"]["figures"][model][kind.replace("all", "all of at least 32 px")]
        shares = [one["found"], one["right"] if one["found"] else None]  # none found, none judged
        words = ["–" if share is None else f"{100 * share:.1f} %" for share in shares]
        wanted.append(", ".join(words).replace("100.0", "100").replace("0.0 %, –", "0 %, –"))
    number = CONTENT["slices"]["figures"][OURS][kind.replace("all", "all of at least 32 px")]["faces"]
    assert rows("MODEL_CARD.md", "| faces of at least 32 px |")[kind] == [str(number), *wanted]


@pytest.mark.parametrize("head", ["| | maskwatch-small | small 1.5,", "| | maskwatch-small | small 1.8 |"])
def test_the_model_cards_changed_photos(head):
    shown = rows("MODEL_CARD.md", head)
    measured = CONTENT["shifts" if "1.5" in head else "gear"]["figures"]
    assert set(shown) - {"mean"} == set(measured[OURS])
    for place, model in ((0, OURS), (2, "maskwatch-nano"), (3, "AIZOO 260")):
        wanted = {name: figure(one["tight"]) for name, one in measured[model].items()}
        assert {name: cells[place] for name, cells in shown.items() if name != "mean"} == wanted


ALARMS = "| model | 70 % |"


@pytest.mark.parametrize("name", CONTENT["alarms"]["figures"])
def test_the_model_cards_alarms_without_faces(name):
    measured = CONTENT["alarms"]["figures"][name]
    wanted = []
    for column in ("70%", "80%", "90%", "as shipped"):
        one = measured.get(column)
        wanted.append(f"{one['a_hundred']:.1f}, {100 * one['pictures']:.1f} %" if one else "–")
    assert rows("MODEL_CARD.md", ALARMS)[name] == wanted


@pytest.mark.parametrize("name", rows("MODEL_CARD.md", "| model | 320×213 |"))
def test_the_model_cards_speed_and_cost(name):
    *times, size, parameters, macs = rows("MODEL_CARD.md", "| model | 320×213 |")[name]
    speed = CONTENT["speed"]["figures"]
    assert times == [f"{speed[f'{width} px, 1 threads'][name]:.1f}" for width in (320, 640, 1024)]
    cost = CONTENT["cost"]["figures"].get(name.removeprefix("maskwatch-"))
    if cost is None:
        assert (size, parameters, macs) == ("", "", "")
        return
    assert size == f"{cost['bytes'] / 1e3:,.0f}"
    assert parameters == (f"{cost['parameters']:,}" if cost["parameters"] else "")
    assert macs.removesuffix(" at 640×480") == (f"{cost['macs'] / 1e6:,.0f}" if cost["macs"] else "")


def test_the_model_cards_pictures_a_second():
    text = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
    ours, ours_2, peer, peer_2 = CONTENT["speed"]["figures"]["image command"].values()
    assert f"{ours:.0f} pictures/s on one thread, {ours_2:.0f} on two" in text
    assert f"{peer:.0f} and {peer_2:.0f}." in text


def test_the_page_holds_what_the_model_card_says():
    lines = "\n".join(site_page().page(CONTENT)).splitlines()
    for head, first in ((ACCURACY, 4), (RECALL, 5)):
        for name, cells in rows("MODEL_CARD.md", head).items():
            shown = [line for line in lines if line.replace("**", "").startswith(f"| {name} |")]
            wanted = [cell for cell in cells[:first] if cell != "–"]
            assert any(all(f" {cell} |" in line for cell in wanted) for line in shown), (name, wanted)


def test_the_page_shows_what_the_file_says():
    site = site_page()
    assert set(CONTENT) <= set(site.SECTIONS), "a benchmark that no section shows"
    changed = json.loads(json.dumps(CONTENT))
    changed["accuracy"]["figures"]["maskwatch-small"]["tight"]["map_two"] = 0.123
    changed["accuracy"]["about"] = {"date": "2001-02-03", "commit": "abc1234", "machine": "an abacus"}
    text = "\n".join(site.page(changed))
    assert "| **maskwatch-small** | 0.123 |" in text
    assert "2001-02-03 · commit `abc1234` · an abacus" in text
    assert "| None |" not in text
    drawn = ET.fromstring(re.search(r"<svg.*?</svg>", text, flags=re.DOTALL)[0])
    widths = [float(bar.get("width")) / 370 for bar in drawn.iter("rect")]
    found = [one["tight"]["recall"]["with_mask"]["16-32"] for one in CONTENT["accuracy"]["figures"].values()]
    assert widths == pytest.approx(found, abs=0.001)
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
    (tmp_path / "accuracy.json").unlink()
    (tmp_path / "near.json").write_text("[3]")
    both = json.loads(page.write(tmp_path, tmp_path / "out.json").read_text())
    assert list(both) == ["accuracy", "near"]
    assert both["accuracy"]["about"] == told
    assert both["near"]["figures"] == [3]


def test_a_thinned_curve_keeps_its_shape():
    recall = np.concatenate([np.linspace(0, 0.5, 400), np.full(9000, 0.5)])  # a long tail of false alarms
    precision = np.concatenate([np.linspace(1, 0.9, 400), np.linspace(0.9, 0, 9000)])
    curve = plots.thinned(recall, precision, most=50)
    assert len(curve["recall"]) == len(curve["precision"]) == 50
    assert (curve["recall"][-1], curve["precision"][-1]) == (0.5, 0.0)
    steps = np.hypot(np.diff(curve["recall"]), np.diff(curve["precision"]))
    assert steps.max() < 0.035  # 1.4 in all, in 49 steps
    nothing = np.zeros(0)
    assert plots.thinned(nothing, nothing) == {"recall": [], "precision": []}
