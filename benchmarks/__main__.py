"""Run the benchmarks: `python -m benchmarks [NAME …]`; results also go to JSON.

`accuracy`, `speed`, `tracking`, `video` and `web` run by default; `hour` takes about ten minutes. `web`
needs no peers and no photos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULTS = Path("runs") / "benchmarks"


def main() -> None:
    """Run all benchmarks, or those named on the command line."""
    wanted = sys.argv[1:] or ["accuracy", "speed", "tracking", "video", "web"]
    if wanted != ["web"] and not (SHARED / "peers").is_dir():
        sys.exit(f"skipped: peers and labelled photos are not here ({SHARED} is missing)")
    from benchmarks import accuracy, speed, tracking, video, web

    runs = {
        "accuracy": accuracy.run,
        "speed": speed.run,
        "tracking": tracking.run,
        "video": video.run,
        "web": web.run,
        "hour": video.run_hour,
    }
    for name in wanted:
        if name not in runs:
            sys.exit(f"no benchmark {name!r}; choose from {', '.join(runs)}")
        figures = runs[name](SHARED)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
