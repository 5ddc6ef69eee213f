"""The cameras of one process: followed in rounds, their events handed on; they come and go while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from maskwatch.errors import MaskwatchError
from maskwatch.pipeline import CameraStatus, Delivery, LiveStep, Rounds, open_deliveries, teller
from maskwatch.pipeline.images import DetectsFaces
from maskwatch.sources.camera import Camera
from maskwatch.tracker import TrackOptions
from maskwatch.watch.config import CameraConfig

if TYPE_CHECKING:
    from typing_extensions import Self


class Session:
    """Watches what `apply` was told last; a context manager, used from one thread."""

    def __init__(
        self,
        detector: DetectsFaces,
        track: TrackOptions,
        spool: Path,
        *,
        node: str = "",
        keep_days: float | None = None,
        rounds: tuple[int, int] = (1, 1),
        on_step: Callable[[LiveStep], None] = lambda step: None,
    ) -> None:
        """`rounds`: batches looked at side by side, and pictures in a batch."""
        self._track, self._spool, self._node, self._keep_days = track, spool, node, keep_days
        self._on_step = on_step
        self._rounds = Rounds(detector, self._tell, workers=rounds[0], at_once=rounds[1])
        self._last: list[CameraStatus] = []
        self._cameras: dict[str, CameraConfig] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._tellers: dict[str, Callable[[LiveStep], None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last = self._rounds.statuses
        self._rounds.__exit__(kind, error, trace)
        for delivery in self._deliveries.values():
            delivery.__exit__(kind, error, trace)

    @property
    def statuses(self) -> list[CameraStatus]:
        """What each camera has come to, or came to by the end."""
        return self._rounds.statuses or self._last

    @property
    def cameras(self) -> list[Camera]:
        """Those that are watched now."""
        return self._rounds.cameras

    @property
    def deliveries(self) -> list[Delivery]:
        """How each receiver does."""
        return list(self._deliveries.values())

    @property
    def busy_s(self) -> float:
        """Time spent looking since the start."""
        return self._rounds.busy_s

    def apply(self, wanted: Mapping[str, CameraConfig]) -> list[str]:
        """Add, change and remove cameras until they are as `wanted`; a sentence for each that was.

        A camera that cannot be, for example for a receiver that does not exist, is left out and said so;
        the others are watched.
        """
        words = []
        for name in [name for name, known in self._cameras.items() if wanted.get(name) != known]:
            del self._cameras[name]
            if name in self._tellers:
                words.append(self._rounds.remove(name).farewell())
                del self._tellers[name]
        for name, config in wanted.items():
            if name not in self._cameras:
                self._cameras[name] = config
                words.append(self._start(name, config))
        self._forget_receivers()
        return words

    def run(
        self,
        *,
        stop: threading.Event,
        duration_s: float | None = None,
        until_ended: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Watch; see `Rounds.run`. `between` may call `apply`."""
        self._rounds.run(stop=stop, duration_s=duration_s, until_ended=until_ended, between=between)

    def _start(self, name: str, config: CameraConfig) -> str:
        try:
            deliveries = [self._delivery(address) for address in dict.fromkeys(config.sinks)]
            camera = Camera(config.source, config.camera_options(), name=name)
            options = config.watch_options(self._track)
        except MaskwatchError as error:
            return f"{name} is not watched: {error}"
        self._tellers[name] = teller(deliveries)
        self._rounds.add(camera, options, fps=config.fps)
        return f"{name} is watched"

    def _delivery(self, address: str) -> Delivery:
        """The delivery to an address, shared by all cameras that name it."""
        if address not in self._deliveries:
            (delivery,) = open_deliveries([address], self._spool, self._keep_days, node=self._node)
            self._deliveries[address] = delivery.__enter__()
        return self._deliveries[address]

    def _forget_receivers(self) -> None:
        used = {address for config in self._cameras.values() for address in config.sinks}
        for address in [address for address in self._deliveries if address not in used]:
            self._deliveries.pop(address).__exit__(None, None, None)

    def _tell(self, step: LiveStep) -> None:
        tell = self._tellers.get(step.camera)
        if tell is not None:
            tell(step)
        self._on_step(step)
