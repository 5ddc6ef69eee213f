"""`Supervisor`: cameras on the hosts of a Ray cluster, placed by load; what dies is started again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maskwatch.cluster import join_cluster
from maskwatch.errors import SourceError
from maskwatch.pipeline import CameraStatus
from maskwatch.watch.config import CameraConfig, WatchConfig
from maskwatch.watch.host import CameraHost, HostReport

if TYPE_CHECKING:
    from typing_extensions import Self

ANSWER_WITHIN_S = 5.0
START_WITHIN_S = 180.0
OTHERS_WITHIN_S = 30.0
"""How long one that started waits for the others, if nobody said how many there are to be."""
FREE_RATE = 25.0
"""Pictures a second that a camera without a cap is taken for when cameras are placed."""


@dataclass
class _Host:
    """One actor as the supervisor knows it."""

    name: str
    actor: Any
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
    life: str = ""
    silent_since: float | None = None
    report: HostReport | None = None
    pending: Any = None

    @property
    def load(self) -> float:
        """Pictures a second that it is to look at."""
        return sum(config.fps or FREE_RATE for config in self.cameras.values())


class Supervisor:
    """Keeps every camera on some living host; a context manager.

    Ray starts a host again that died, on another node if its own is gone, and the supervisor gives
    it its cameras back. While it stays silent for longer than `patience_s`, others get them.

    Raises:
        MissingExtraError: Ray is not installed.
        SourceError: the cluster cannot be joined, or has no place for a host.
    """

    def __init__(
        self, config: WatchConfig, spool: Path, *, address: str, hosts: int | None, patience_s: float = 15.0
    ) -> None:
        """`hosts`: None means one a CPU of the cluster, as far as they start."""
        cpus = join_cluster("watch --address", address)
        import ray

        self._ray, self._patience_s, self._all_must_start = ray, patience_s, hosts is not None
        count = hosts or max(1, cpus)
        make = ray.remote(CameraHost).options(
            num_cpus=1, max_restarts=-1, max_task_retries=0, max_concurrency=4, scheduling_strategy="SPREAD"
        )
        self._hosts = [
            _Host(name, make.remote(name, config.detector, spool, config.keep_days))
            for name in (f"host{number}" for number in range(count))
        ]
        self.words: list[str] = []

    def __enter__(self) -> Self:
        """Wait for the hosts, which load the detector.

        Where their number was counted, those that start go on without the others: a cluster
        counts a node that has just died for a while, and a host without a place joins when it gets one.

        Raises:
            SourceError: one could not be started.
        """
        for host in self._hosts:
            host.pending = host.actor.report.remote()
        asked = [host.pending for host in self._hosts]
        needed = len(asked) if self._all_must_start else 1
        ready, _ = self._ray.wait(asked, num_returns=needed, timeout=START_WITHIN_S)
        if needed <= len(ready) < len(asked):
            ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=OTHERS_WITHIN_S)
        for host in self._hosts:
            if host.pending in ready:
                self._greet(host)
            elif len(ready) < needed:
                raise SourceError(
                    f"{host.name}: no CPU was free within {START_WITHIN_S:g} s; take fewer --workers"
                )
            else:
                self._note_silence(host)
        return self

    def _greet(self, host: _Host) -> None:
        try:
            host.report, host.pending = self._ray.get(host.pending), None
        except self._ray.exceptions.RayError as error:
            raise SourceError(f"{host.name}: cannot be started ({_cause(error)})") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asked = [(host, host.actor.close.remote()) for host in self._hosts if self._answers(host)]
        self._ray.wait([one for _, one in asked], num_returns=len(asked), timeout=30) if asked else None
        for host, answer in asked:
            report = self._answer(host, answer, 0.1)
            if report is not None:
                host.report = report
        for host in self._hosts:
            self._ray.kill(host.actor)
        self._ray.shutdown()

    @property
    def statuses(self) -> list[CameraStatus]:
        """What each camera has come to on the host where it is now."""
        return [status for host in self._hosts if host.report for status in host.report.statuses]

    @property
    def reports(self) -> list[HostReport]:
        """The last words of each host."""
        return [host.report for host in self._hosts if host.report is not None]

    def apply(self, wanted: Mapping[str, CameraConfig]) -> None:
        """Place new cameras on the hosts with the least to do; take away what is no longer wanted."""
        for host in self._hosts:
            for name in [name for name, known in host.cameras.items() if name not in wanted]:
                del host.cameras[name]
            for name in host.cameras:
                host.cameras[name] = wanted[name]
        placed = {name for host in self._hosts for name in host.cameras}
        self._place({name: config for name, config in wanted.items() if name not in placed})
        for host in self._hosts:
            self._assign(host)

    def tick(self) -> None:
        """Hear from every host; give cameras back to those that were started again, or to others."""
        for host in self._hosts:
            if host.pending is None:
                host.pending = host.actor.report.remote()
        ready = [host.pending for host in self._hosts]
        self._ray.wait(ready, num_returns=len(ready), timeout=ANSWER_WITHIN_S)
        for host in self._hosts:
            report = self._answer(host, host.pending, 0.0)
            if report is None:
                self._note_silence(host)
                continue
            host.silent_since, host.report = None, report
            self.words += report.words
            if report.error:
                self.words.append(f"{host.name}: {report.error}")
            if report.life != host.life and host.life:
                self.words.append(f"{host.name} was started again, process {report.pid}")
            if report.life != host.life or set(report.cameras) != set(host.cameras):
                self._assign(host)
            host.life = report.life

    def _answers(self, host: _Host) -> bool:
        return host.silent_since is None and host.report is not None

    def _answer(self, host: _Host, pending: Any, timeout_s: float) -> HostReport | None:
        """What a host said, or None while it is silent or dead."""
        try:
            report: HostReport = self._ray.get(pending, timeout=timeout_s)
        except self._ray.exceptions.GetTimeoutError:
            return None
        except self._ray.exceptions.RayError:
            host.pending = None
            return None
        host.pending = None
        return report

    def _note_silence(self, host: _Host) -> None:
        now = time.monotonic()
        if host.silent_since is None:
            host.silent_since = now
            self.words.append(f"{host.name} does not answer")
        others = [one for one in self._hosts if self._answers(one)]
        if host.cameras and others and now - host.silent_since > self._patience_s:
            moved, host.cameras, host.report = host.cameras, {}, None
            self.words.append(f"{host.name} stays away; its cameras ({', '.join(moved)}) go to other hosts")
            self._place(moved)
            for one in others:
                self._assign(one)

    def _place(self, cameras: Mapping[str, CameraConfig]) -> None:
        """Each camera, the busiest first, on the answering host with the least to do."""
        hosts = [host for host in self._hosts if host.silent_since is None] or self._hosts
        for name, config in sorted(cameras.items(), key=lambda one: -(one[1].fps or FREE_RATE)):
            min(hosts, key=lambda host: host.load).cameras[name] = config

    def _assign(self, host: _Host) -> None:
        host.actor.assign.remote(dict(host.cameras))


def _cause(error: BaseException) -> str:
    """The last line of what Ray tells, which is the error of the host itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
