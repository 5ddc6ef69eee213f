"""Run the benchmarks: `python -m benchmarks [accuracy|speed …]`; results also go to JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULTS = Path("runs") / "benchmarks"


def main() -> None:
    """Run all benchmarks, or those named on the command line."""
    wanted = sys.argv[1:] or ["accuracy", "speed"]
    if not (SHARED / "peers").is_dir():
        sys.exit(f"skipped: peers and labelled photos are not here ({SHARED} is missing)")
    from benchmarks import accuracy, speed

    runs = {"accuracy": accuracy.run, "speed": speed.run}
    for name in wanted:
        if name not in runs:
            sys.exit(f"no benchmark {name!r}; choose from {', '.join(runs)}")
        figures = runs[name](SHARED)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
