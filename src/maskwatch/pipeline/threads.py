"""Three ways to share work among threads: order is kept, queues are bounded, nothing is left behind."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")
_POLL_S: Final = 0.1


class _End:
    """The last thing in a pipe: the iteration is over, perhaps by an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Pipe(Generic[Item]):
    """A bounded queue whose writer gives up once the reader has stopped."""

    def __init__(self, size: int) -> None:
        self._queue: queue.Queue[Item | _End] = queue.Queue(size)
        self._stopped = threading.Event()

    def put(self, item: Item | _End) -> bool:
        """Wait for room; False if the reader has stopped meanwhile."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def offer(self, item: Item) -> bool:
        """Put without waiting; False if there is no room."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def get(self) -> Item | _End:
        """Wait for the next item."""
        return self._queue.get()

    def stop(self) -> None:
        """Let writers give up."""
        self._stopped.set()


def ordered_map(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """`map` on threads: results in order, and never more than 2 · `workers` items under way."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def prefetch(items: Iterable[Item], *, size: int) -> Generator[Item, None, None]:
    """The same items, taken by a thread of their own up to `size` ahead; errors come through.

    Closing the iterator stops the thread after the item it is at.
    """
    pipe: _Pipe[Item] = _Pipe(size)
    thread = threading.Thread(target=_feed, args=(items, pipe), name="maskwatch-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = pipe.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        pipe.stop()
        thread.join()


def _feed(items: Iterable[Item], pipe: _Pipe[Item]) -> None:
    """Put all items and then the end into a pipe."""
    try:
        for item in items:
            if not pipe.put(item):
                return
    except BaseException as error:  # noqa: BLE001 — raised again where the items are used
        pipe.put(_End(error))
    else:
        pipe.put(_End())


class Background(Generic[Item]):
    """Does work on items in a thread of its own, in order, at most `size` behind; a context manager.

    `put` waits while the queue is full. An error of the work is raised by the next `put`, or on
    leaving the block; what was put before is finished first.
    """

    def __init__(self, work: Callable[[Item], None], *, size: int) -> None:
        self._work = work
        self._pipe: _Pipe[Item] = _Pipe(size)
        self._error: BaseException | None = None
        self.refused = 0
        self._thread = threading.Thread(target=self._run, name="maskwatch-background", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: Item) -> None:
        """Hand over one item.

        Raises:
            BaseException: what the work on an earlier item raised.
        """
        if not self._pipe.put(item) and self._error is not None:
            raise self._error

    def offer(self, item: Item) -> None:
        """Hand over one item if there is room; else it is dropped, and counted in `refused`.

        Raises:
            BaseException: as `put`.
        """
        if self._error is not None:
            raise self._error
        self.refused += not self._pipe.offer(item)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.put(_End())
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            item = self._pipe.get()
            if isinstance(item, _End):
                return
            try:
                self._work(item)
            except BaseException as error:  # noqa: BLE001 — raised again in the thread that puts
                self._error = error
                self._pipe.stop()
                return
