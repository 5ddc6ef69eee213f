"""Run the benchmarks: `python -m benchmarks [NAME …]`; results also go to JSON.

`accuracy`, `slices`, `errors`, `near`, `shifts`, `gear`, `speed`, `sides`, `cost`, `tracking`, `video` and
`web` run by default; `hour`, `batch`, `interruptions`, `deaths` and `cameras` take up to ten minutes each,
`simulate` and `int8` less. `alarms` downloads 0.7 GB of Debian packages once. `gallery` writes
docs/failures.md. `web`, `hour` and `gallery` need no peers and no photos.
`page` measures nothing: it gathers the results into docs/benchmarks.json.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import page

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULTS = Path("runs") / "benchmarks"
BENCHMARKS = {
    "accuracy": ("accuracy", "run"),
    "slices": ("slices", "run"),
    "errors": ("errors", "run"),
    "near": ("near", "run"),
    "shifts": ("shifts", "run"),
    "gear": ("shifts", "run_gear"),
    "alarms": ("alarms", "run"),
    "speed": ("speed", "run"),
    "sides": ("sides", "run"),
    "cost": ("cost", "run"),
    "gallery": ("gallery", "run"),
    "int8": ("int8", "run"),
    "tracking": ("tracking", "run"),
    "video": ("video", "run"),
    "web": ("web", "run"),
    "hour": ("video", "run_hour"),
    "batch": ("batch", "run"),
    "interruptions": ("batch", "run_interruptions"),
    "deaths": ("batch", "run_deaths"),
    "cameras": ("cameras", "run"),
    "simulate": ("simulate_cameras", "run"),
}
"""Module and function of each; imported when asked for, as some need more than others."""
USUAL = tuple(name for name in page.SHOWN if name not in ("int8", "hour", "alarms"))
"""What the page shows, but for what was decided once, takes long or needs Debian's packages."""
NEED_NOTHING = ("web", "hour", "gallery")
"""Those that need neither peers nor photos of `SHARED`."""


def main() -> None:
    """Run all benchmarks, or those named on the command line."""
    if sys.argv[1:] == ["page"]:
        print("written:", page.write(RESULTS))
        return
    wanted = sys.argv[1:] or list(USUAL)
    for name in wanted:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
    if not (SHARED / "peers").is_dir():
        missing = [name for name in wanted if name not in NEED_NOTHING]
        if missing:
            print(
                f"skipped: {', '.join(missing)}: peers and labelled photos are not here ({SHARED} is missing)"
            )
        wanted = [name for name in wanted if name in NEED_NOTHING]
        if not wanted:
            sys.exit(1)
    for name in wanted:
        module, function = BENCHMARKS[name]
        figures = getattr(import_module(f"benchmarks.{module}"), function)(SHARED)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        page.note(RESULTS, name)
    if {"accuracy", "speed"} & set(wanted) and all(
        (RESULTS / f"{name}.json").is_file() for name in ("accuracy", "speed")
    ):
        from benchmarks import plots

        print("drawn:", ", ".join(str(path) for path in plots.draw(RESULTS)))


if __name__ == "__main__":
    main()
