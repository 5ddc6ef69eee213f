"""Options that several commands share, so that they look alike everywhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Optional

import typer

DEVICES = ("cpu", "cuda", "directml", "coreml", "openvino")
"""As in `onnx_session`, which a completion has no time to import."""


def _models(incomplete: str) -> list[str]:
    """Names of packaged detectors, for a shell's completion."""
    names = [file.name for file in (resources.files("maskwatch") / "models").iterdir()]
    known = [
        name.removeprefix("maskwatch-").removesuffix(".onnx") for name in names if name.endswith(".onnx")
    ]
    return [name for name in sorted(known) if name.startswith(incomplete)]


def _devices(incomplete: str) -> list[str]:
    return [name for name in DEVICES if name.startswith(incomplete)]


Model = Annotated[
    Optional[Path],
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A packaged detector by its name (small, nano), or an ONNX file.",
        autocompletion=_models,
    ),
]
Classifier = Annotated[
    Optional[Path],
    typer.Option("--classifier", metavar="FILE", help="Let your own classifier (ONNX) judge each face."),
]
FaceDetector = Annotated[
    Optional[Path],
    typer.Option(
        "--face-detector", metavar="FILE", help="With --classifier: find faces with OpenCV's SSD or YuNet."
    ),
]
ScoreThreshold = Annotated[
    Optional[float],
    typer.Option("--score-threshold", "--score", metavar="0..1", help="Leave out faces below this score."),
]
MaxSide = Annotated[
    int,
    typer.Option("--max-side", metavar="PX", help="Scale larger pictures down to this side; never up."),
]
PhotoSide = Annotated[
    Optional[int],
    typer.Option(
        "--max-side",
        metavar="PX",
        help="Scale larger pictures down to this side; never up. Without it 1024, or 2048 for small faces.",
    ),
]
Turned = Annotated[
    bool,
    typer.Option(
        "--turned/--no-turned", help="Look at a photo without a sure face sideways and upside down, too."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, directml, coreml or openvino; see the docs.",
        autocompletion=_devices,
    ),
]
Threads = Annotated[
    int,
    typer.Option("--threads", metavar="N", help="Pictures at work at the same time; 0: one a core."),
]
Blur = Annotated[
    bool, typer.Option("--blur", help="Make faces unrecognisable in every picture that is written or shown.")
]
Annotate = Annotated[
    bool, typer.Option("--annotated/--no-annotated", help="Write copies with boxes drawn on them.")
]
Sets = Annotated[
    Optional[str],
    typer.Option("--sets", metavar="A,B", help="Only pictures whose `set` is one of these."),
]
JsonFile = Annotated[
    Optional[str],
    typer.Option("--json", metavar="FILE", help="Write the results as JSON; - prints them."),
]
RulesFile = Annotated[
    Optional[Path],
    typer.Option("--rules", metavar="FILE", help="Alert rules, zones and lines as TOML."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
AggregateOnly = Annotated[
    bool,
    typer.Option("--aggregate-only", help="Only counts and shares: no pictures, nothing about a person."),
]
AggregateEvery = Annotated[
    float, typer.Option("--aggregate-every", metavar="S", min=0.1, help="Seconds one sum covers.")
]
KeepDays = Annotated[
    Optional[float],
    typer.Option("--keep-days", metavar="N", help="Delete rows of databases after so many days."),
]
Loop = Annotated[bool, typer.Option("--loop", help="Start files over at their end.")]
Rotate = Annotated[
    int,
    typer.Option(
        "--rotate",
        metavar="DEGREES",
        help="Turn pictures clockwise by 90, 180 or 270, where a camera hangs so.",
    ),
]
Duration = Annotated[
    Optional[float], typer.Option("--duration", metavar="S", min=0.1, help="Stop after so many seconds.")
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the page; 0: any free one.")
]
RayAddress = Annotated[
    Optional[str],
    typer.Option("--address", metavar="HOST:PORT", help="Spread over this Ray cluster; auto: the one here."),
]
RunFolder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Run folder; a run in it is gone on with.")
]
NewFolder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New folder for the result.")]
Labels = Annotated[
    Optional[list[str]],
    typer.Option("--label", metavar="NAME=LABEL", help="What a class or label means, e.g. n95=with_mask."),
]
Margin = Annotated[
    float, typer.Option("--margin", metavar="SHARE", help="Crops reach this far beyond the face's box.")
]
LeastPx = Annotated[float, typer.Option("--least-px", metavar="PX", help="Leave out smaller faces.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all that is left to chance.")]
TestShare = Annotated[
    float, typer.Option("--test-share", "--share", metavar="0..1", help="Share of the test part.")
]
Plot = Annotated[
    Optional[Path], typer.Option("--plot", "-p", metavar="FILE", help="Draw the curves (PNG, SVG).")
]
