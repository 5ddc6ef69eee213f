"""Parts on a Ray cluster, or on a Ray of this machine's own, through Ray Data."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from maskwatch.batch.options import Job
from maskwatch.batch.part import PartWorker, Receipt
from maskwatch.errors import MaskwatchError, SourceError

MOST_BLOCKS = 5_000


def run_on_ray(job: Job, parts: Sequence[int], workers: int, on_done: Callable[[Receipt], None]) -> None:
    """Do `parts` in `workers` actors of one CPU each; `on_done` hears of each in the calling thread.

    Ray Data starts a dead actor again, elsewhere if its node is gone, and does again what it had at
    hand (`max_restarts` and `max_task_retries` are −1 there).

    Raises:
        MaskwatchError: what a worker raised.
        SourceError: Ray gave up.
    """
    import ray
    import ray.data

    _hush()
    blocks = min(len(parts), MOST_BLOCKS)
    numbered = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=blocks)
    done = numbered.map(
        _RayWorker,  # type: ignore[arg-type] # a class is made once an actor, then called
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=min(workers, blocks), max_tasks_in_flight_per_actor=2),
        num_cpus=1,
    )
    try:
        for row in done.iter_rows():
            on_done(Receipt.from_json(row["receipt"]))
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MaskwatchError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if isinstance(cause, MaskwatchError):
            raise cause from error
        words = str(error).strip().splitlines()
        raise SourceError(
            f"Ray gave up ({words[-1] if words else type(error).__name__}); run the same command again to "
            "go on where it stopped"
        ) from error


class _RayWorker:
    """A `PartWorker` with rows of Ray Data for arguments."""

    def __init__(self, job: Job) -> None:
        self._work = PartWorker(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"receipt": json.dumps(json.loads(self._work(int(row["part"])).to_json()))}


def _hush() -> None:
    """Our own progress bar is enough."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
