"""Run the benchmarks: `python -m benchmarks [NAME …]`; results also go to JSON.

`accuracy`, `speed`, `tracking` and `video` run by default; `hour`, `batch`, `deaths` and `cameras`
take about ten minutes each, `simulate` less.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULTS = Path("runs") / "benchmarks"


def main() -> None:
    """Run all benchmarks, or those named on the command line."""
    wanted = sys.argv[1:] or ["accuracy", "speed", "tracking", "video"]
    if not (SHARED / "peers").is_dir():
        sys.exit(f"skipped: peers and labelled photos are not here ({SHARED} is missing)")
    from benchmarks import accuracy, batch, cameras, simulate_cameras, speed, tracking, video

    runs = {
        "accuracy": accuracy.run,
        "speed": speed.run,
        "tracking": tracking.run,
        "video": video.run,
        "hour": video.run_hour,
        "batch": batch.run,
        "deaths": batch.run_deaths,
        "cameras": cameras.run,
        "simulate": simulate_cameras.run,
    }
    for name in wanted:
        if name not in runs:
            sys.exit(f"no benchmark {name!r}; choose from {', '.join(runs)}")
        figures = runs[name](SHARED)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
