"""Options that several commands share, so that they look alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Model = Annotated[
    Optional[Path],
    typer.Option(
        "--model", metavar="MODEL", help="A packaged detector by its name (small), or an ONNX file."
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
    typer.Option("--score-threshold", metavar="0..1", help="Leave out faces below this score."),
]
MaxSide = Annotated[
    int,
    typer.Option("--max-side", metavar="PX", help="Scale larger pictures down to this side; never up."),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="cpu, cuda, directml, coreml or openvino; see the docs."),
]
Threads = Annotated[
    int,
    typer.Option("--threads", metavar="N", help="Pictures at work at the same time; 0: one a core."),
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
