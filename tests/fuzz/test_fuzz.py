"""The fuzz bodies on damaged, cut off and strange inputs of every kind we read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.bodies import BODIES, cleaned_up
from tests.fuzz.seeds import SEEDS

HANG_S = 20.0
"""Generous: machines are shared. The fuzzer's own limit is 5 s."""
STRANGE = [
    b"nan",
    b"NaN",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"[" * 3000,
    b"\x00",
    b"\xff" * 9,
    b"'\"",
    b"{}",
]
FOUND = Path(__file__).parent / "found"
EXAMPLES = {"image_bytes": 400, "video_bytes": 80, "onnx_bytes": 60, "http_request": 60, "spool_file": 60}


def _examples(usual: int) -> int:
    """`usual`, or as many times more as the profile of Hypothesis asks for."""
    return usual * settings.default.max_examples // 100


@pytest.fixture(autouse=True, scope="module")
def _clean() -> Iterator[None]:
    with cleaned_up():
        yield


def test_every_body_has_seeds():
    assert set(BODIES) == set(SEEDS)


@pytest.mark.parametrize("name", list(BODIES))
def test_sound_and_strange_inputs(name):
    """Every seed as it is, empty, cut off, and whole values that no file should hold."""
    body = BODIES[name]
    for seed in SEEDS[name]():
        for data in (seed, seed[: len(seed) // 2], seed + b"\x00" * 9, *STRANGE, b""):
            started = time.monotonic()
            body(data)
            assert time.monotonic() - started < HANG_S


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_fuzzing_once_found(path):
    """Inputs made from our own seeds that failed before, called BODY-WHAT."""
    BODIES[path.name.partition("-")[0]](path.read_bytes())


def _mutated(name: str, draw: st.DataObject) -> bytes:
    """A seed with bytes overwritten, cut out, doubled or replaced; headers more often."""
    seeds = SEEDS[name]()
    data = bytearray(seeds[draw.draw(st.integers(0, len(seeds) - 1))])
    for _ in range(draw.draw(st.integers(1, 6))):
        end = draw.draw(st.sampled_from([min(40, len(data)), min(200, len(data)), len(data)]))
        at = draw.draw(st.integers(0, max(0, end)))
        how = draw.draw(st.sampled_from(["set", "set", "cut", "double", "strange"]))
        if how == "set" and at < len(data):
            data[at] = draw.draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw.draw(st.integers(1, 64))]
        elif how == "double":
            data[at:at] = data[at : at + draw.draw(st.integers(1, 64))]
        elif how == "strange":
            data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.sampled_from(STRANGE))
    return bytes(data)


@pytest.mark.parametrize("name", list(BODIES))
def test_damaged_inputs(name):
    @given(draw=st.data())
    @settings(
        max_examples=_examples(EXAMPLES.get(name, 120)),
        suppress_health_check=list(HealthCheck),
    )
    def run(draw: st.DataObject) -> None:
        data = _mutated(name, draw)
        started = time.monotonic()
        BODIES[name](data)
        assert time.monotonic() - started < HANG_S

    run()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON, place=st.sampled_from(["categories", "images", "annotations"]), key=st.booleans())
@example(value=[None, 3.89873518340794e60], place="annotations", key=True)
@settings(max_examples=_examples(200))
def test_coco_with_any_value_anywhere(value, place, key):
    """Well-formed JSON whose values are not what they should be."""
    from tests.fuzz.seeds import COCO

    content = json.loads(json.dumps(COCO))
    if key:
        first = content[place][0]
        first[sorted(first)[len(str(value)) % len(first)]] = value
    else:
        content[place] = value
    BODIES["coco_json"](json.dumps(content).encode())


@given(value=JSON)
@settings(max_examples=_examples(100))
def test_training_options_with_any_value_anywhere(value):
    for name in ("steps", "sides", "network", "augment", "set_weights", "precision", "seed", "learning_rate"):
        BODIES["settings_json"](json.dumps({name: value}).encode())
