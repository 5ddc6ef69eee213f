"""The page of benchmarks: tables of docs/benchmarks.json, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks.json"
PAGE = "benchmarks.md"
LABELS = ("with_mask", "without_mask", "mask_worn_incorrectly")
SIZES = ("all", "8-16", "16-32", "32-96", "96+", "16+")
OURS = "maskwatch-small"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    content = json.loads(SOURCE.read_text(encoding="utf-8"))
    files.append(File.generated(config, PAGE, content="\n".join(page(content))))
    return files


def page(content: dict[str, Any]) -> Iterator[str]:
    """The page's lines."""
    yield "# Benchmarks\n"
    yield (
        "Written from `docs/benchmarks.json`, which `python -m benchmarks page` gathers from what "
        "`make bench` wrote. Peers run as their authors published; what they need lies beside the "
        "repository. Times are of shared cores: trust ratios more than milliseconds. What the figures "
        "mean: [model card](model-card.md).\n"
    )
    for name, (title, tables) in SECTIONS.items():
        if name in content:
            yield f"## {title}\n"
            yield f"{_about(name, content[name]['about'])}\n"
            yield from tables(content[name]["figures"])


def _about(name: str, about: dict[str, Any]) -> str:
    commit = f"commit `{about['commit']}`" if about["commit"] else "the commit was not recorded"
    machine = about["machine"] or "the machine was not recorded"
    source = f". {about['source']}" if about.get("source") else ""
    return f"`python -m benchmarks {name}` · {about['date']} · {commit} · {machine}{source}"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """A table's lines; numbers right, nothing for null."""
    names = list(head)
    yield "| " + " | ".join(names) + " |"
    yield "|---" + "|---:" * (len(names) - 1) + "|"
    for first, *rest in rows:
        shown = f"**{first}**" if first == OURS else str(first)
        yield "| " + " | ".join([shown, *map(_cell, rest)]) + " |"
    yield ""


def bars(title: str, shares: dict[str, float]) -> Iterator[str]:
    """An inline SVG, a bar a model; `shares` lie between 0 and 1."""
    height = 24 * len(shares)
    yield f"{title}:\n"
    look = 'role="img" font-size="13" fill="currentColor"'
    yield f'<svg viewBox="0 0 640 {height}" {look} aria-label="{escape(title)}">'
    for place, (name, share) in enumerate(shares.items()):
        colour, y = ("#00897b" if name == OURS else "#90a4ae"), 24 * place
        yield f'<text x="205" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="215" y="{y + 4}" width="{370 * share:.1f}" height="16" fill="{colour}"/>'
        yield f'<text x="{220 + 370 * share:.1f}" y="{y + 17}">{share:.3f}</text>'
    yield "</svg>\n"


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _accuracy(figures: dict[str, Any]) -> Iterator[str]:
    tight = {name: one["tight"] for name, one in figures.items()}
    for group in next(iter(figures.values())):
        first = next(iter(figures.values()))[group]
        if isinstance(first, dict):
            boxes = ", ".join(f"{count} {label}" for label, count in first["faces"].items() if count)
            yield f"### Average precision, {group}\n"
            yield f"IoU {first['iou']}, {first['images']} photos: {boxes}. 0: a model has no such label.\n"
            yield from table(
                ["model", "mAP of the first two", *LABELS, "faces"],
                (
                    [name, *_of(one[group], judges=one["judges_masks"]), one[group]["face_ap"]]
                    for name, one in figures.items()
                ),
            )
    yield "### Faces found\n"
    small = {name: one["recall"]["with_mask"]["16-32"] for name, one in tight.items()}
    yield from bars("Masked faces of 16 to 32 px found, at 0.1 false alarms a picture", small)
    for label in LABELS[:2]:
        yield f"Share of {label} found at 0.1 false alarms a picture (tight), whatever its label, by px:\n"
        yield from table(
            ["model", *SIZES],
            ([name, *(one["recall"][label].get(size) for size in SIZES)] for name, one in tight.items()),
        )


def _of(one: dict[str, Any], *, judges: bool) -> list[Any]:
    """MAP and AP by label of one that judges masks; nothing for one that only finds faces."""
    values = [one["map_two"], *(one["ap"].get(label) for label in LABELS)]
    return values if judges else [None] * len(values)


def _slices(figures: dict[str, Any]) -> Iterator[str]:
    names = list(figures)
    yield "Found at the default threshold, and rightly labelled among the found:\n"
    yield from table(
        ["faces", "number", *(f"{name}: {what}" for name in names for what in ("found", "right"))],
        (
            [
                kind,
                one["faces"],
                *(figures[name][kind][what] for name in names for what in ("found", "right")),
            ]
            for kind, one in figures[names[0]].items()
        ),
    )


def _errors(figures: dict[str, Any]) -> Iterator[str]:
    yield "Tight mAP50 / face AP if all errors of one kind, and they alone, were repaired:\n"
    repairs = list(next(iter(figures.values())))
    rows = (
        [name, *(f"{one[repair]['tight']:.3f} / {one[repair]['face_ap']:.3f}" for repair in repairs)]
        for name, one in figures.items()
    )
    yield from table(["model", *repairs], rows)


def _near(figures: dict[str, Any]) -> Iterator[str]:
    yield (
        "Photos scaled until their largest face has so many px: share found at the default threshold, share "
        "of those with the right label, and how many detections, in all photos together, hold no face.\n"
    )
    rows = (
        [name, px, one["pictures"], one["found"], one["right"], one["false_alarms"]]
        for name, sizes in figures.items()
        for px, one in sizes.items()
    )
    yield from table(["model", "largest face, px", "photos", "found", "right", "false alarms"], rows)


def _shifts(figures: dict[str, Any]) -> Iterator[str]:
    yield "Tight mAP50 / face AP of every third photo, changed as the row says:\n"
    shifts = next(iter(figures.values()))
    rows = (
        [shift, *(f"{one[shift]['tight']:.3f} / {one[shift]['face_ap']:.3f}" for one in figures.values())]
        for shift in shifts
    )
    yield from table(["", *figures], rows)


def _alarms(figures: dict[str, Any]) -> Iterator[str]:
    yield (
        "False alarms in 100 pictures that hold no face, and the share of pictures with one, at the score "
        "that finds so many of the faces in photos of people:\n"
    )
    columns = list(dict.fromkeys(name for one in figures.values() for name in one))
    rows = ([model, *(_alarm(one.get(name)) for name in columns)] for model, one in figures.items())
    yield from table(["model", *columns], rows)


def _alarm(one: dict[str, float] | None) -> str | None:
    return None if one is None else f"{one['a_hundred']:.1f}, {one['pictures']:.1%}"


def _speed(figures: dict[str, Any]) -> Iterator[str]:
    frames = [name for name in figures if name != "image command"]
    for threads in dict.fromkeys(name.partition(", ")[2] for name in frames):
        sizes = {name.partition(", ")[0]: figures[name] for name in frames if name.endswith(f", {threads}")}
        yield f"Milliseconds by the picture's width, {_threads(threads)}; peers look at their own size:\n"
        models = next(iter(sizes.values()))
        yield from table(
            ["model", *sizes], ([model, *(one.get(model) for one in sizes.values())] for model in models)
        )
    if "image command" in figures:
        yield "A folder of photos, pictures a second, decoding and JSON included:\n"
        rows = ((_threads(name), rate) for name, rate in figures["image command"].items())
        yield from table(["command", "a second"], rows)


def _threads(words: str) -> str:
    return words.replace("1 threads", "1 thread")


def _cost(figures: dict[str, Any]) -> Iterator[str]:
    models = {name: one for name, one in figures.items() if "bytes" in one}
    yield "MACs are multiplications with an addition, ours for 640×480, a peer's for its own size:\n"
    yield from table(
        ["model", "bytes", "parameters", "MACs"],
        (
            [f"maskwatch-{name}" if name == "small" else name, one["bytes"], one["parameters"], one["macs"]]
            for name, one in models.items()
        ),
    )
    if start := figures.get("start"):
        yield "A fresh process (cold start), seconds since it began, and its largest resident memory:\n"
        yield from table(
            ["imported, s", "model loaded, s", "first picture judged, s", "RSS, MiB"],
            [
                [
                    *(f"{start[key]:.2f}" for key in ("import_s", "loaded_s", "first_picture_s")),
                    start["peak_rss_kb"] / 1024,
                ]
            ],
        )


def _sides(figures: dict[str, Any]) -> Iterator[str]:
    yield (
        "Our models with `--max-side` beside AIZOO's network at 260×260, on one thread, the networks alone: "
        "how accurate, how long, and how many times faster than AIZOO's.\n"
    )
    keys = ("tight", "ms", "times_faster")
    rows = ([name, *map(one.get, keys)] for name, one in figures.items())
    yield from table(["model at px of the longer side", "tight mAP50", "ms", "times faster"], rows)


def _int8(figures: dict[str, Any]) -> Iterator[str]:
    yield "Convolutions in INT8 (QDQ, fitted to 64 training photos), one thread at 640×480:\n"
    keys = ("tight", "face", "ms", "bytes")
    rows = ([name, *map(one.get, keys)] for name, one in figures.items())
    yield from table(["model", "tight mAP50", "face AP", "ms", "bytes"], rows)


def _nested(figures: dict[str, Any]) -> Iterator[str]:
    """Any figures: a table for each group of rows that share columns, a list of pairs for the rest."""
    for title, group in figures.items():
        if not isinstance(group, dict):
            continue
        yield f"### {title}\n"
        rows = {name: one for name, one in group.items() if isinstance(one, dict)}
        if rows:
            columns = list(dict.fromkeys(key for one in rows.values() for key in one))
            cells = ([name, *map(_whole, map(one.get, columns))] for name, one in rows.items())
            yield from table(["", *columns], cells)
        if plain := {name: one for name, one in group.items() if not isinstance(one, dict | list)}:
            yield from table(["", ""], ((name, _whole(one)) for name, one in plain.items()))
    if plain := {name: one for name, one in figures.items() if not isinstance(one, dict | list)}:
        yield from table(["", ""], ((name, _whole(one)) for name, one in plain.items()))


def _whole(value: Any) -> Any:
    """None of a thing is 0, not 0.000."""
    return int(value) if isinstance(value, float) and value == 0 else value


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "accuracy": ("Accuracy", _accuracy),
    "slices": ("Slices", _slices),
    "errors": ("What the errors cost", _errors),
    "near": ("Seen from near", _near),
    "shifts": ("In other light, by other cameras", _shifts),
    "gear": ("Goggles, helmets and hoods", _shifts),
    "alarms": ("Pictures without faces", _alarms),
    "speed": ("Speed", _speed),
    "sides": ("Smaller pictures", _sides),
    "int8": ("INT8", _int8),
    "cost": ("Cost", _cost),
    "tracking": ("Tracking", _nested),
    "video": ("Video", _nested),
    "hour": ("An hour of video", _nested),
    "web": ("Web server and browser", _nested),
}
