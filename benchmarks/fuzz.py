"""Coverage-guided fuzzing of the bodies in `tests.fuzz` with atheris.

    python -m benchmarks.fuzz SECONDS [BODY …]

Each body runs in a process of its own, from the seeds that the tests use, for `SECONDS`. A crash, an input
that takes longer than `HANG_S`, and memory beyond `MOST_MB` end the process: the input is kept under
`runs/fuzz/BODY/`, counted, and the body goes on with the time that is left. atheris is no dependency of the
tests: pip install atheris.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HANG_S = 5
MOST_MB = 2048
RUNS = Path("runs") / "fuzz"
LONGEST_INPUT = 65_536


def main() -> None:
    """Fuzz all bodies, or those named; print a table and keep it as JSON."""
    if sys.argv[1:2] == ["--one"]:
        _fuzz_here(sys.argv[2], sys.argv[3:])
        return
    from tests.fuzz.bodies import BODIES

    seconds = float(sys.argv[1]) if sys.argv[1:] else 60.0
    figures = {name: fuzz(name, seconds) for name in sys.argv[2:] or BODIES}
    RUNS.mkdir(parents=True, exist_ok=True)
    (RUNS / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(
        "| body | seconds | inputs | crashes | hangs > 5 s | late once | over 2 GB | growth of memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in figures.items():
        cells = ("seconds", "inputs", "crashes", "hangs", "late", "out_of_memory", "growth_mb")
        print(f"| {name} | " + " | ".join(f"{row[cell]:,}" for cell in cells) + " |")


def fuzz(name: str, seconds: float) -> dict[str, Any]:
    """Fuzz one body; what came of it."""
    from tests.fuzz.seeds import SEEDS

    folder = RUNS / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]()):
        (corpus / f"seed-{number}").write_bytes(seed)
    row: dict[str, Any] = dict.fromkeys(
        ("inputs", "crashes", "hangs", "late", "out_of_memory", "growth_mb"), 0
    )
    started = time.monotonic()
    while (left_s := seconds - (time.monotonic() - started)) > 1:
        said = _run(name, folder, corpus, left_s)
        row["inputs"] += _last(r"#(\d+)\s", said)
        sizes = [int(size) for size in re.findall(r"rss: (\d+)Mb", said)]
        row["growth_mb"] = max(row["growth_mb"], sizes[-1] - sizes[len(sizes) // 2] if len(sizes) > 3 else 0)
        if "ERROR: libFuzzer: timeout" in said:
            row["hangs" if _hangs_again(name, folder) else "late"] += 1
        elif "out-of-memory" in said:
            row["out_of_memory"] += 1
        elif "Uncaught Python exception" in said or "ERROR: libFuzzer" in said:
            row["crashes"] += 1
            _keep_words(folder, said)
        else:
            break
    row["seconds"] = round(time.monotonic() - started)
    return row


def _run(name: str, folder: Path, corpus: Path, seconds: float) -> str:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--one", name, str(corpus)]
    options = [
        f"-max_total_time={max(1, int(seconds))}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MOST_MB}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    try:
        done = subprocess.run(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "OPENCV_LOG_LEVEL": "SILENT"},
            timeout=2 * seconds + 300,
        )
    except subprocess.TimeoutExpired as late:  # a machine too busy to end it, or a hang of native code
        print(f"{name}: did not end in time", file=sys.stderr)
        return (late.output or b"").decode("utf-8", "replace") + "ERROR: libFuzzer: timeout"
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode and "ERROR: libFuzzer" not in said:
        said += f"ERROR: libFuzzer: ended with {done.returncode}"
    return said


_AGAIN = """
import sys, time
from tests.fuzz.bodies import BODIES, cleaned_up
name, path, limit_s = sys.argv[1:]
with open(path, "rb") as file:
    data = file.read()
with cleaned_up():
    BODIES[name](b"")
    began = time.process_time()
    BODIES[name](data)
    sys.exit(time.process_time() - began > float(limit_s))
"""


def _hangs_again(name: str, folder: Path) -> bool:
    """Whether an input that took too long does so again; on a busy machine many do not."""
    again = False
    for path in folder.glob("timeout-*"):
        command = [sys.executable, "-c", _AGAIN, name, str(path), str(HANG_S)]
        done = subprocess.run(command, check=False, timeout=600)
        again |= done.returncode != 0
        if not done.returncode:
            path.unlink()
    return again


def _fuzz_here(name: str, options: list[str]) -> None:
    """In the fuzzer's own process: maskwatch is instrumented while it is imported."""
    import atheris

    with atheris.instrument_imports(include=["maskwatch"]):
        from tests.fuzz import bodies

    body = bodies.BODIES[name]

    def one(data: bytes) -> None:
        body(data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def _keep_words(folder: Path, said: str) -> None:
    start = max(0, said.find("Uncaught Python exception"))
    with (folder / "crashes.txt").open("a", encoding="utf-8") as file:
        file.write(said[start : start + 3000] + "\n----\n")


if __name__ == "__main__":
    main()
