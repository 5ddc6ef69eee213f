"""Run the benchmarks: `python -m benchmarks [NAME …]`; results also go to JSON.

`accuracy`, `slices`, `speed`, `cost`, `tracking` and `video` run by default; `hour` takes about ten minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULTS = Path("runs") / "benchmarks"


def main() -> None:
    """Run all benchmarks, or those named on the command line."""
    wanted = sys.argv[1:] or ["accuracy", "slices", "speed", "cost", "tracking", "video"]
    if not (SHARED / "peers").is_dir():
        sys.exit(f"skipped: peers and labelled photos are not here ({SHARED} is missing)")
    from benchmarks import accuracy, cost, plots, slices, speed, tracking, video

    runs = {
        "accuracy": accuracy.run,
        "speed": speed.run,
        "cost": cost.run,
        "slices": slices.run,
        "tracking": tracking.run,
        "video": video.run,
        "hour": video.run_hour,
    }
    for name in wanted:
        if name not in runs:
            sys.exit(f"no benchmark {name!r}; choose from {', '.join(runs)}")
        figures = runs[name](SHARED)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if {"accuracy", "speed"} & set(wanted) and all(
        (RESULTS / f"{name}.json").is_file() for name in ("accuracy", "speed")
    ):
        print("drawn:", ", ".join(str(path) for path in plots.draw(RESULTS)))


if __name__ == "__main__":
    main()
