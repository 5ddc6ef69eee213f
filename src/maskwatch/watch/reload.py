"""Notice that a configuration file has changed, without being misled by half-written ones."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from maskwatch.errors import OptionError
from maskwatch.watch.config import WatchConfig, read_config

LOOK_EVERY_S = 1.0


class ConfigFile:
    """A configuration that may change while it is used.

    Raises:
        OptionError: it cannot be used from the start.
    """

    def __init__(self, path: Path, reload: threading.Event) -> None:
        """`reload`, set by a signal, has the file read at once."""
        self.path = path
        self.current: WatchConfig = read_config(path)
        self._reload = reload
        self._seen = self._look()
        self._next_look = time.monotonic() + LOOK_EVERY_S

    def changed(self) -> WatchConfig | None:
        """The new configuration, if there is another one; looks once a second.

        Raises:
            OptionError: the file changed into one that cannot be used; the last one stays current.
        """
        asked = self._reload.is_set()
        if not asked and time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + LOOK_EVERY_S
        seen = self._look()
        if not asked and (seen == self._seen or seen is None):  # an editor may be between two files
            return None
        self._reload.clear()
        self._seen = seen
        fresh = read_config(self.path)
        if fresh == self.current:
            return None
        if fresh.model_copy(update={"cameras": self.current.cameras}) != self.current:
            raise OptionError(
                f"{self.path}: only cameras can change while watching; start again for detector, spool and "
                "keep_days"
            )
        self.current = fresh
        return fresh

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
