"""Gather what was measured into the small docs/benchmarks.json, of which the site makes its tables."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "benchmarks.json"
SHOWN = (
    "accuracy",
    "slices",
    "errors",
    "near",
    "shifts",
    "gear",
    "alarms",
    "speed",
    "sides",
    "int8",
    "cost",
    "tracking",
    "video",
    "hour",
    "web",
)
ABOUT = "about.json"
DIGITS = 6
LEFT_OUT = ("curves", "ap_coco", "confusion", "recall_threshold")
"""Keys that fill kilobytes and that no table shows."""


def note(results: Path, name: str) -> None:
    """Keep in `results` when, where and at which commit the benchmark `name` ran."""
    file = results / ABOUT
    known = _read(file)
    known[name] = {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}",
    }
    file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def write(results: Path, target: Path = TARGET) -> Path:
    """Gather the figures in `results` into `target`; its path. What was not measured anew stays in `target`.

    A file that says nothing of its run gets the date it was written, and null for what nobody knows. Who
    knows better writes it into about.json beside the figures; `source` is a sentence on where it comes from.
    """
    known, before = _read(results / ABOUT), _read(target)
    content = {}
    for name in SHOWN:
        file = results / f"{name}.json"
        if name in before:
            content[name] = before[name]
        if file.is_file():
            written = dt.datetime.fromtimestamp(file.stat().st_mtime, tz=dt.timezone.utc)
            about = {"date": written.date().isoformat(), "commit": None, "machine": None, "source": None}
            figures = json.loads(file.read_text(encoding="utf-8"))
            content[name] = {"about": {**about, **known.get(name, {})}, "figures": small(figures)}
    target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def _read(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def small(value: Any) -> Any:
    """`value` without what no table shows, with fewer digits, and with null for what is no number."""
    if isinstance(value, dict):
        return {key: small(one) for key, one in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [small(one) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) >= 2 else round(value, DIGITS)


def _commit() -> str | None:
    """The commit that is checked out; with a + where files differ from it; None outside of git."""
    try:
        words = [
            subprocess.run(
                ["git", *call], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for call in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return words[0] + ("+" if words[1] else "")


def _processor() -> str:
    """The processor's name, as well as the system knows it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
