"""Where it fails: one public-domain portrait, drawn on, dimmed, blurred, turned, shrunk, and the verdicts.

Writes docs/failures.md and a sheet of the worst draw of each case. One woman's portrait shows what changes a
verdict, not how often people are misjudged: that is what `slices` measures on photos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

from benchmarks.scenes import FACE_XYXY, LANDMARKS
from maskwatch import Detector
from maskwatch.annotate import annotate
from maskwatch.boxes import iou
from maskwatch.detections import Detections
from maskwatch.frames import Image
from maskwatch.labels import LABELS, WITH_MASK, WITHOUT_MASK
from maskwatch.synthesis import (
    GEAR_KINDS,
    LABEL_OF_WEAR,
    MASK_KINDS,
    OCCLUDER_KINDS,
    GearKind,
    MaskKind,
    OccluderKind,
    Wear,
    draw_gear,
    draw_mask,
    draw_occluder,
)

Rng = np.random.Generator
Change = Callable[[Image, Rng], Image]
DOCS = Path(__file__).resolve().parents[1] / "docs"
DRAWS = 40
FACE_PX = (40.0, 130.0)
"""Least and largest height of the faces, unless a case says otherwise."""
TILE_PX = 176
COLUMNS = 6


@dataclass(frozen=True)
class Case:
    """One way to change the portrait, and the label that its face has then."""

    name: str
    truth: int
    draw: Change
    change: Change = lambda image, _: image
    face_px: tuple[float, float] = FACE_PX
    turn: float = 0.0
    """Degrees."""


@dataclass(frozen=True)
class Draw:
    """A changed portrait, its face (4,) xyxy px, and what the model says of it."""

    image: Image
    face: npt.NDArray[np.float64]
    found: Detections

    @property
    def own(self) -> Detections:
        """The one detection of the portrait's face; none where it is missed."""
        overlaps = iou(self.found.xyxy, self.face[None].astype(np.float32))[:, 0]
        return self.found[np.flatnonzero(overlaps >= 0.4)[:1]]


def bare(image: Image, _: Rng) -> Image:
    """The face as it is."""
    return image


def masked(*kinds: MaskKind, wear: Wear = "over_nose") -> Change:
    """With a mask of one of `kinds`."""
    return lambda image, rng: draw_mask(
        image, LANDMARKS, kind=kinds[rng.integers(len(kinds))], wear=wear, rng=rng
    )


def hidden(kind: OccluderKind) -> Change:
    """With something that is no mask."""
    return lambda image, rng: draw_occluder(image, LANDMARKS, kind=kind, rng=rng)


def wearing(*kinds: GearKind, below: Change = bare) -> Change:
    """With all of `kinds` on the head of the portrait that `below` draws."""

    def dressed(image: Image, rng: Rng) -> Image:
        return draw_gear(below(image, rng), LANDMARKS, kinds=kinds, rng=rng)

    return dressed


def transparent(image: Image, rng: Rng) -> Image:
    """A mask that lets two thirds of the face through."""
    return cv2.addWeighted(image, 0.67, draw_mask(image, LANDMARKS, rng=rng), 0.33, 0).astype(np.uint8)


def dark(image: Image, rng: Rng) -> Image:
    """A tenth of the light, and noise."""
    return np.clip(image * 0.1 + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def blurred(image: Image, _: Rng) -> Image:
    """A lens far out of focus: Gaussian of a 26th of the face, which is a third of the picture."""
    return cv2.GaussianBlur(image, (0, 0), image.shape[1] / 84).astype(np.uint8)


def coded(image: Image, _: Rng) -> Image:
    """JPEG of quality 5."""
    stream = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 5])[1]
    return np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), np.uint8)


def backlit(image: Image, _: Rng) -> Image:
    """Nearly black before a white wall."""
    light = np.linspace(0.5, 2.0, image.shape[1])[None, :, None]
    return np.clip(image * 0.25 + 60 * light, 0, 255).astype(np.uint8)


def cases() -> list[Case]:
    """All, the easy ones first."""
    any_mask = masked("surgical", "ffp2", "cloth")
    return [
        Case("bare", WITHOUT_MASK, bare),
        *(Case(f"{kind} mask", WITH_MASK, masked(kind)) for kind in MASK_KINDS),
        Case("mask under the nose", LABEL_OF_WEAR["under_nose"], masked("surgical", wear="under_nose")),
        Case("mask on the chin", LABEL_OF_WEAR["on_chin"], masked("surgical", wear="on_chin")),
        *(Case(f"{kind}, no mask", WITHOUT_MASK, hidden(kind)) for kind in OCCLUDER_KINDS),
        *(Case(f"{kind}, no mask", WITHOUT_MASK, wearing(kind)) for kind in GEAR_KINDS),
        Case("hood and goggles, no mask", WITHOUT_MASK, wearing("hood", "goggles")),
        Case("hood and goggles, masked", WITH_MASK, wearing("hood", "goggles", below=any_mask)),
        Case("helmet and respirator", WITH_MASK, wearing("helmet", below=masked("respirator"))),
        Case("cap, shield and mask", WITH_MASK, wearing("cap", "shield", below=any_mask)),
        Case("transparent mask", WITH_MASK, transparent),
        Case("masked, dark", WITH_MASK, any_mask, dark),
        Case("bare, dark", WITHOUT_MASK, bare, dark),
        Case("masked, against the light", WITH_MASK, any_mask, backlit),
        Case("bare, against the light", WITHOUT_MASK, bare, backlit),
        Case("masked, out of focus", WITH_MASK, any_mask, blurred),
        Case("bare, out of focus", WITHOUT_MASK, bare, blurred),
        Case("masked, JPEG of quality 5", WITH_MASK, any_mask, coded),
        *(Case(f"masked, turned {turn}°", WITH_MASK, any_mask, turn=turn) for turn in (30, 60, 90, 180)),
        *(Case(f"bare, turned {turn}°", WITHOUT_MASK, bare, turn=turn) for turn in (30, 60, 90, 180)),
        *(Case(f"masked, {px} px high", WITH_MASK, any_mask, face_px=(px, px)) for px in (20, 14, 10, 8)),
        *(Case(f"bare, {px} px high", WITHOUT_MASK, bare, face_px=(px, px)) for px in (20, 14, 10, 8)),
    ]


def draw(case: Case, number: int, detector: Detector) -> Draw:
    """The portrait as `case` says, at a size and a place that the draw's number decides."""
    rng = np.random.default_rng([number, len(case.name)])
    portrait = case.draw(np.array(data.astronaut()), rng)  # type: ignore[no-untyped-call]
    low, high = case.face_px
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / (FACE_XYXY[3] - FACE_XYXY[1])
    side = max(96, round(3.2 * scale * (FACE_XYXY[3] - FACE_XYXY[1])))
    centre = (FACE_XYXY[:2] + FACE_XYXY[2:]) / 2
    matrix = cv2.getRotationMatrix2D(centre.tolist(), case.turn, scale)
    matrix[:, 2] += side / 2 - centre + rng.uniform(-0.15, 0.15, 2) * side
    if scale < 0.5:  # warping alone would alias
        smooth = cv2.GaussianBlur(portrait, (0, 0), 0.4 / scale)
        portrait = np.asarray(smooth, np.uint8)
    image = cv2.warpAffine(portrait, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    corners = FACE_XYXY[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) @ matrix[:, :2].T + matrix[:, 2]
    if case.turn % 90:
        middle, half = corners.mean(axis=0), (FACE_XYXY[2:] - FACE_XYXY[:2]).mean() * scale / 2
        corners = np.stack([middle - half, middle + half])
    changed = case.change(np.asarray(image, np.uint8), rng)
    face = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Draw(changed, face, detector.detect(changed))


def run(shared: Path) -> dict[str, Any]:  # noqa: ARG001 — needs no photos
    """Draw every case `DRAWS` times; prints and writes the table and the sheet."""
    detector = Detector()
    figures: dict[str, Any] = {}
    tiles = []
    for case in cases():
        draws = [draw(case, number, detector) for number in range(DRAWS)]
        own = [one.own for one in draws]
        found = [index for index, one in enumerate(own) if len(one)]
        said = [own[index].verdict_names[0] for index in found]
        figures[case.name] = {
            "truth": LABELS[case.truth],
            "found": len(found) / DRAWS,
            **{name: said.count(name) / DRAWS for name in (*LABELS, "uncertain")},
        }
        missed = [index for index in range(DRAWS) if index not in found]
        wrong = [
            index
            for index, name in zip(found, said, strict=True)
            if name not in (LABELS[case.truth], "uncertain")
        ]
        shown = draws[(wrong + missed + [0])[0]]
        tiles.append(_tile(case, shown, failed=bool(wrong or missed)))
    table = _table(figures)
    print(table)
    _write(table, tiles, detector)
    return figures


def _table(figures: dict[str, Any]) -> str:
    names = (*LABELS, "uncertain")
    lines = [f"| case | is | missed | {' | '.join(names)} |", f"|---|---|---|{'---|' * len(names)}"]
    for name, one in figures.items():
        said = [f"**{one[label]:.0%}**" if label == one["truth"] else f"{one[label]:.0%}" for label in names]
        lines.append(f"| {name} | {one['truth']} | {1 - one['found']:.0%} | {' | '.join(said)} |")
    return "\n".join(lines).replace("%", " %").replace("| 0 % |", "| – |").replace("| 0 % |", "| – |")


def _tile(case: Case, shown: Draw, *, failed: bool) -> Image:
    """The draw with its boxes on a square, its name below; a red edge where it failed."""
    scale = TILE_PX / shown.image.shape[0]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    image = np.asarray(cv2.resize(shown.image, (TILE_PX, TILE_PX), interpolation=way), np.uint8)
    drawn = annotate(image, replace(shown.own, xyxy=shown.own.xyxy * np.float32(scale)))
    if failed:
        cv2.rectangle(drawn, (0, 0), (TILE_PX - 1, TILE_PX - 1), (215, 30, 30), 3)
    tile = np.full((TILE_PX + 24, TILE_PX + 8, 3), 255, np.uint8)
    tile[:TILE_PX, :TILE_PX] = drawn
    words, place = case.name.replace("°", " deg"), (0, TILE_PX + 16)
    cv2.putText(tile, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def _write(table: str, tiles: list[Image], detector: Detector) -> None:
    """The page and the sheet."""
    blank = np.full_like(tiles[0], 255)
    tiles = [*tiles, *[blank] * (-len(tiles) % COLUMNS)]
    rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
    sheet = np.concatenate(rows)[..., ::-1]
    cv2.imwrite(str(DOCS / "images" / "failures.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])
    card = detector.card
    (DOCS / "failures.md").write_text(
        _PAGE.format(name=card.name, version=card.version, draws=DRAWS, table=table), encoding="utf-8"
    )


_PAGE = """# Where it fails

What {name} {version} says of one face, in {draws} draws a case: other size and place each time, and
other colours, folds and hands where something is drawn. Bold is right. `python -m benchmarks gallery`
makes this page. It is one portrait (NASA's of Eileen Collins, public domain, bundled with scikit-image)
and drawings on it, by the code that also draws on training photos: it shows what turns a verdict, not how
often people are misjudged. That, by skin, beard, age and light, on photos, is in the
[model card](model-card.md#slices).

{table}

A case's worst draw, with a red edge where at least one failed: labelled wrongly if any was, else missed.

![One portrait, drawn on, dimmed, blurred, turned and shrunk, and the boxes found](images/failures.jpg)
"""
