"""The same bad pictures and videos through maskwatch and two peers: what each does, side by side.

    python -m benchmarks.bad_media [FILE.md]

The peers are a plain OpenCV script, as tutorials have it, and supervision's `process_video`. Each file goes
to a process of its own, with a limit of memory and time; nothing but its exit code, its words, its output
and the memory it took is looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import av

from benchmarks.corpus import Case, pictures, videos

HANG_S = 90.0
MOST_BYTES = 8 * 2**30
USUAL_MB = 300

OPENCV_PICTURE = """
import sys, cv2
image = cv2.imread(sys.argv[1])
height, width = image.shape[:2]
print(cv2.resize(image, (300, 300)).shape, width, height)
"""
OPENCV_VIDEO = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1])
rate = capture.get(cv2.CAP_PROP_FPS)
writer = None
while True:
    grabbed, frame = capture.read()
    if not grabbed:
        break
    if writer is None:
        fourcc = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(sys.argv[2], fourcc, rate, (frame.shape[1], frame.shape[0]))
    writer.write(frame)
if writer is not None:
    writer.release()
"""
SUPERVISION_VIDEO = """
import sys, supervision
supervision.process_video(sys.argv[1], sys.argv[2], lambda frame, index: frame)
"""
MASKWATCH = "from maskwatch.cli.app import main; main()"


@dataclass(frozen=True)
class Outcome:
    """What a program did with a file."""

    words: str
    megabytes: int

    @property
    def memory(self) -> str:
        """The memory it took, where that is more than a program needs to start."""
        return f", {self.megabytes:,} MB" if self.megabytes > USUAL_MB else ""

    def __str__(self) -> str:
        return self.words + self.memory


def main() -> None:
    """Print the tables, and write them to the file named."""
    with tempfile.TemporaryDirectory(prefix="maskwatch-bad-") as folder:
        places = [Path(folder) / "pictures", Path(folder) / "videos"]
        for place in places:
            place.mkdir()
        text = _pictures(list(pictures(places[0]))) + "\n" + _videos(list(videos(places[1])), Path(folder))
    print(text)
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")


def _pictures(cases: list[Case]) -> str:
    lines = ["| picture | maskwatch image | OpenCV script |", "|---|---|---|"]
    for case in cases:
        ours = _run([MASKWATCH, "image", str(case.path), "--no-annotated", "--quiet"])
        theirs = _run([OPENCV_PICTURE, str(case.path)])
        lines.append(f"| {case.name} | {ours} | {theirs} |")
    return "\n".join(lines) + "\n"


def _videos(cases: list[Case], folder: Path) -> str:
    lines = ["| video | maskwatch video | OpenCV script | supervision |", "|---|---|---|---|"]
    for number, case in enumerate(cases):
        cells = []
        for name, code in (("ours", MASKWATCH), ("opencv", OPENCV_VIDEO), ("sv", SUPERVISION_VIDEO)):
            out = folder / f"{name}-{number}.mp4"
            arguments = [code, str(case.path), str(out)]
            if name == "ours":
                arguments = [code, "video", str(case.path), "-o", str(out), "--every", "6", "--quiet"]
            outcome = _run(arguments)
            made = f"; {readable_frames(out)} of {case.frames} frames" if out.exists() else ""
            cells.append(f"{outcome.words}{made}{outcome.memory}")
        lines.append(f"| {case.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _run(arguments: list[str]) -> Outcome:
    """Run a program text with its arguments."""
    process = subprocess.Popen(
        ["prlimit", f"--as={MOST_BYTES}", sys.executable, "-c", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )
    assert process.stderr is not None
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(HANG_S, stop)
    timer.start()
    started = time.monotonic()
    said = process.stderr.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    process.stderr.close()
    return Outcome(
        _words(process.returncode, said, late.is_set(), time.monotonic() - started), usage.ru_maxrss // 1024
    )


def _words(code: int, said: str, late: bool, seconds: float) -> str:
    if late:
        return f"**hangs** (stopped after {seconds:.0f} s)"
    if code < 0:
        return f"**dies** of {signal.Signals(-code).name}"
    if "Traceback" in said:
        return f"**traceback** ({said.strip().splitlines()[-1].split(':')[0]})"
    if code:
        return "one sentence" if said.count("maskwatch: ") == 1 else f"exit code {code}"
    return "reads it"


def readable_frames(path: Path) -> int:
    """Frames of a video that decode; 0 of what is none."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (av.error.FFmpegError, OSError):
        return 0


if __name__ == "__main__":
    main()
