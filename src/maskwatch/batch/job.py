"""A whole batch: plan it or find the plan, have the missing parts done, write the manifest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskwatch._version import __version__
from maskwatch.addresses import redact
from maskwatch.batch.inputs import list_items
from maskwatch.batch.look import load
from maskwatch.batch.options import BatchOptions, Job
from maskwatch.batch.part import Receipt, read_receipt
from maskwatch.batch.plan import FOLDER, PlanSize, begin
from maskwatch.batch.pool import run_in_pool
from maskwatch.batch.store import PARTIAL_FOLDER, FileSystems, Store, is_url
from maskwatch.cluster import join_cluster
from maskwatch.errors import OptionError
from maskwatch.summary import Summary

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        pictures, parts: of the whole batch.
        done, parts_done: those committed by now.
        found: those of them that an earlier run had done.
        summary: counts of what is done.
    """

    pictures: int
    parts: int
    done: int = 0
    parts_done: int = 0
    found: int = 0
    summary: Summary = dataclasses.field(default_factory=Summary)

    def add(self, receipt: Receipt, *, found: bool = False) -> Progress:
        """With one more part."""
        summary = add_up(self.summary, receipt.summary)
        return replace(
            self,
            done=summary.images,
            parts_done=self.parts_done + 1,
            found=self.found + (receipt.summary.images if found else 0),
            summary=summary,
        )


BatchReport = Progress
"""What `run_batch` returns: the progress at the end."""


@dataclass(frozen=True)
class Workers:
    """Who does the parts.

    Attributes:
        count: how many at a time; None: one a core of this machine or of the cluster.
        local: processes of this machine, without Ray.
        address: the Ray cluster to join; None: a Ray of this machine's own.
    """

    count: int | None = None
    local: bool = False
    address: str | None = None

    def __post_init__(self) -> None:
        if self.local and self.address is not None:
            raise OptionError("--local works on this machine alone; leave out --address")
        if self.count is not None and self.count < 1:
            raise OptionError(f"--workers must be at least 1, not {self.count}")


def run_batch(
    inputs: Sequence[str],
    output: str,
    options: BatchOptions | None = None,
    workers: Workers | None = None,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BatchReport:
    """Look at all pictures that `inputs` name and write tables below `output`.

    The same call again goes on after any interruption; called after the end it only reports.

    Raises:
        OptionError: nothing is to be done, or `output` holds another job.
        ModelError: the model cannot be loaded, here or on a node.
        SourceError: a store or the cluster fails; the same call goes on from there.
    """
    workers = workers or Workers()
    options = _absolute(options or BatchOptions())
    sources = [name if is_url(name) else os.path.abspath(name) for name in inputs]
    output = output if is_url(output) else os.path.abspath(output)
    card = load(options).card
    job = Job(tuple(sources), output, options, card.sha256)
    store = Store(output)
    asked = _asked(job, {"name": card.name, "version": card.version, "sha256": card.sha256})
    items = list_items(sources, FileSystems([*sources, output]))
    size = begin(store, asked, items, options.part_size)
    progress, receipts, missing = _found(store, size)
    report(progress)

    def on_done(receipt: Receipt) -> None:
        nonlocal progress
        if receipt.part not in receipts:
            receipts[receipt.part] = receipt
            progress = progress.add(receipt)
            report(progress)

    if missing:
        _run(job, missing, workers, on_done)
    manifest = _manifest(asked, progress, [receipts[part] for part in range(size.parts)])
    store.write(MANIFEST, manifest)
    store.remove_folder(f"{FOLDER}/tries")
    store.remove_folder(PARTIAL_FOLDER)  # what killed workers were writing
    return progress


def add_up(first: Summary, second: Summary) -> Summary:
    """The counts of both."""
    fields = dataclasses.fields(Summary)
    return Summary(**{one.name: getattr(first, one.name) + getattr(second, one.name) for one in fields})


def _absolute(options: BatchOptions) -> BatchOptions:
    """Workers may run in other folders."""
    names = ("model", "classifier", "face_detector")
    paths = {name: getattr(options, name) for name in names}
    return replace(options, **{name: path.absolute() for name, path in paths.items() if path is not None})


def _asked(job: Job, model: dict[str, str]) -> dict[str, Any]:
    """What the output depends on, without secrets."""
    options = {
        key: value
        for key, value in dataclasses.asdict(job.options).items()
        if key not in ("model", "classifier", "face_detector")  # the digest says it
    }
    return {"inputs": [redact(name) for name in job.inputs], "model": model, **options}


def _found(store: Store, size: PlanSize) -> tuple[Progress, dict[int, Receipt], list[int]]:
    """Progress so far, receipts by part, and the parts that are missing."""
    there = set(store.names(f"{FOLDER}/parts"))
    progress, receipts, missing = Progress(size.pictures, size.parts), {}, []
    for part in range(size.parts):
        receipt = read_receipt(store, part) if f"{part:05d}.json" in there else None
        if receipt is None:
            missing.append(part)
        else:
            receipts[part] = receipt
            progress = progress.add(receipt, found=True)
    return progress, receipts, missing


def _run(job: Job, parts: list[int], workers: Workers, on_done: Callable[[Receipt], None]) -> None:
    if workers.local:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        run_in_pool(job, parts, min(workers.count or cores, len(parts)), on_done)
        return
    from maskwatch.batch.ray_data import run_on_ray

    cores = join_cluster("batch without --local", workers.address, workers.count)
    run_on_ray(job, parts, min(workers.count or cores, len(parts)), on_done)


def _manifest(asked: dict[str, Any], progress: Progress, receipts: list[Receipt]) -> bytes:
    """The same for the same pictures, whoever did them and however often they were interrupted."""
    parts = [
        {
            "part": one.part,
            "images": one.summary.images,
            "faces": one.summary.faces,
            "images_sha256": one.images_sha256,
            "faces_sha256": one.faces_sha256,
        }
        for one in receipts
    ]
    content = {"maskwatch": __version__, **asked, "summary": progress.summary.to_dict(), "parts": parts}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
