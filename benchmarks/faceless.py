"""Pictures that hold no face, out of Debian's packages: objects, textures, landscapes.

    python -m benchmarks.faceless FOLDER    # gathers them: FOLDER/train to learn from, FOLDER/test to measure

Labelled photos are of people, and what they show beside faces is much the same; these are the rest. Which
pictures of a package are taken depends on their names alone; those that hold a face, of a person, a statue, a
doll or a cartoon of one, were found by eye among what two detectors took for a face, and are left out
(faceless.json). Animals stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from maskwatch.curation.coco_folder import CocoFolder
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.evaluate import Curve

MOST_OF = {
    "train": {
        "0ad-data": 700,
        "bzflag-data": 100,
        "colobot-common-textures": 200,
        "cube2-data": 400,
        "extremetuxracer-data": 200,
        "flightgear-data-base": 900,
        "flightgear-data-models": 300,
        "foobillardplus-data": 100,
        "gcompris-qt-data": 200,
        "kstars-data": 400,
        "neverball-data": 200,
        "nexuiz-textures": 700,
        "openarena-081-textures": 500,
        "redeclipse-data": 700,
        "scorched3d-data": 300,
        "stellarium-data": 500,
        "sweethome3d-furniture": 700,
        "trackballs-data": 100,
        "ufoai-textures": 700,
        "visp-images-data": 200,
    },
    "test": {
        "gnome-backgrounds": 50,
        "lomiri-wallpapers-16.04": 50,
        "lomiri-wallpapers-20.04": 50,
        "mate-backgrounds": 50,
        "plasma-workspace-wallpapers": 100,
        "torcs-data": 200,
        "tuxpaint-stamps-default": 500,
        "ukui-wallpapers": 50,
    },
}
"""How many pictures are taken of a Debian package at most; no package serves both ends."""
SET_NAMES = {"gcompris-qt-data": "faceless_photos"}
"""Data sets of their own, so that a recipe can show them oftener: photos, most of them of animals."""
GATHERED = Path("runs") / "faceless"
"""Where the benchmarks look for them."""
LEFT_OUT = Path(__file__).with_suffix(".json")
SUFFIXES = {".jpg", ".jpeg", ".png", ".tga", ".webp", ".pgm", ".ppm", ".dds"}
ARCHIVES = {".pk3", ".pk4", ".zip", ".sh3f", ".jar"}
RESOURCES = ("erase", "explore_farm_animals", "explore_world_animals", "categorization")
"""Of Qt's resource files, which hold pictures uncompressed, those of photos."""
LEAST_SIDE, MOST_SIDE = 96, 640
_LEAST_BYTES = 6_000
_LEAST_DEVIATION = 6.0
_SAME_BITS = 6


@dataclass(frozen=True)
class Alarms:
    """False alarms of a model at one score.

    Attributes:
        score: faces from this score on count.
        a_hundred: number of false alarms in a hundred pictures.
        pictures: share of pictures with one.
    """

    score: float
    a_hundred: float
    pictures: float


@dataclass(frozen=True)
class Picture:
    """One picture of a package: the name it gets, RGB pixels, and a fingerprint of 64 bits."""

    name: str
    image: PIL.Image.Image
    bits: npt.NDArray[np.bool_]


def score_at(curve: Curve, recall: float) -> float | None:
    """The score from which on this share of the faces is found; None if it never is."""
    place = int(np.searchsorted(curve.recall, recall))
    return float(curve.score[place]) if place < len(curve.recall) else None


def alarms(found: Sequence[Detections], score: float) -> Alarms:
    """What of it, in pictures without faces, has this score and more."""
    counts = np.array([(one.score >= score).sum() for one in found])
    return Alarms(score, 100 * float(counts.mean()), float((counts > 0).mean()))


def gather(folder: Path, ends: Sequence[str] = tuple(MOST_OF)) -> None:
    """Write a COCO folder below `folder` for each of `ends`.

    Raises:
        subprocess.CalledProcessError: a package cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out = set(json.loads(LEFT_OUT.read_text(encoding="utf-8")))
    for end in ends:
        target = CocoFolder(folder / end)
        for package, most in MOST_OF[end].items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                unpack(package, Path(place))
                taken = 0
                for picture in islice(different(pictures_in(Path(place), package)), most):
                    taken += 1
                    if picture.name not in left_out:
                        _add(target, picture, Path(place), SET_NAMES.get(package, "faceless"))
            print(f"{end}: {package}: {taken} pictures", flush=True)
        target.write()


def _add(target: CocoFolder, picture: Picture, place: Path, set_name: str) -> None:
    path = place / picture.name
    picture.image.save(path, quality=92)
    nothing = np.zeros(0, dtype=bool)
    target.add(LabelledImage(path, picture.image.size, Detections.empty(), nothing, set_name=set_name))
    path.unlink()


def unpack(package: str, place: Path) -> None:
    """Download a Debian package and unpack it, archives inside it included.

    Raises:
        subprocess.CalledProcessError: it cannot be had.
    """
    subprocess.run(["apt-get", "download", "-qq", package], cwd=place, check=True, stderr=subprocess.DEVNULL)
    for file in sorted(place.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(file), str(place)], check=True)
        file.unlink()
    for file in sorted(place.rglob("*")):
        if file.suffix == ".rcc" and file.stem in RESOURCES:
            carve(file)
        elif file.suffix.lower() in ARCHIVES and file.is_file():
            try:
                with zipfile.ZipFile(file) as archive:
                    archive.extractall(file.with_suffix(".unpacked"))
            except (zipfile.BadZipFile, OSError):
                print(f"{file.name}: cannot be unpacked")


def carve(file: Path) -> None:
    """Write the WebP pictures that lie in a file of Qt's resources beside it, named by their order."""
    data, place, number = file.read_bytes(), 0, 0
    while (place := data.find(b"RIFF", place)) >= 0:
        end = place + 8 + int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place + 8 : place + 12] == b"WEBP":
            file.with_name(f"{file.stem}-{number:04}.webp").write_bytes(data[place:end])
            number += 1
        place += 4


def pictures_in(place: Path, package: str) -> Iterator[Picture]:
    """Usable pictures below `place`, in an order that depends on their paths alone."""
    named = {
        path: zlib.crc32(str(path.relative_to(place)).encode())
        for path in place.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
    }
    for path in sorted(named, key=named.__getitem__):
        image = read(path) if path.stat().st_size >= _LEAST_BYTES else None
        if image is not None:
            small = np.asarray(image.convert("L").resize((9, 8), PIL.Image.Resampling.BOX), dtype=np.int16)
            yield Picture(f"{package}__{named[path]:08x}.jpg", image, (np.diff(small) > 0).ravel())


def read(path: Path) -> PIL.Image.Image | None:
    """RGB of at most `MOST_SIDE` px, what is transparent on grey; None if it is small or of one colour."""
    try:
        with PIL.Image.open(path) as file:
            image = file.convert("RGBA")
    except (OSError, ValueError, SyntaxError, NotImplementedError, PIL.Image.DecompressionBombError):
        return None
    image.thumbnail((MOST_SIDE, MOST_SIDE))
    if min(image.size) < LEAST_SIDE:
        return None
    is_cut_out = (np.asarray(image)[..., 3] < 8).mean() > 0.02
    flat = PIL.Image.new("RGBA", image.size, (128, 128, 128, 255))
    picture = PIL.Image.alpha_composite(flat, image).convert("RGB") if is_cut_out else image.convert("RGB")
    return picture if np.asarray(picture).std() >= _LEAST_DEVIATION else None


def different(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Without those that look like an earlier one."""
    seen = np.zeros((0, 64), dtype=bool)
    for picture in pictures:
        if (seen != picture.bits).sum(axis=1).min(initial=64) > _SAME_BITS:
            seen = np.concatenate([seen, picture.bits[None]])
            yield picture


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faceless", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where the COCO folders train and test are written")
    given = parser.parse_args()
    gather(given.folder)


if __name__ == "__main__":
    main()
