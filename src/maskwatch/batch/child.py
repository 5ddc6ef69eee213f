"""`Child`: a process that answers one request after the other, and whose death is noticed at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class ChildDiedError(Exception):
    """The process ended without an answer; raised and handled in this room only."""


class _Failure:
    """What the work raised, on its way to the parent."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Child(Generic[Request, Answer]):
    """A fresh process (spawn) with the work that `make` gives there; a context manager.

    It ends when its parent does, however that dies. Ctrl-C reaches only the parent.
    """

    def __init__(self, make: Callable[[], Callable[[Request], Answer]]) -> None:
        """`make` is pickled, and called once in the new process."""
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), name="maskwatch-worker")
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    def ask(self, request: Request) -> None:
        """Send a request; does not wait for the answer. A dead child is noticed by `answer`."""
        with contextlib.suppress(OSError):
            self.connection.send(request)

    def answer(self) -> Answer:
        """Wait for the answer.

        Raises:
            ChildDiedError: the process is gone.
            Exception: what the work raised.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise ChildDiedError from error
        if isinstance(answer, _Failure):
            raise answer.error
        return answer

    def kill(self) -> None:
        """End the process without warning."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, make: Callable[[], Callable[[Request], Answer]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone: nobody wants an answer
        try:
            work = make()
        except Exception as error:  # noqa: BLE001 — raised again in the parent
            connection.recv()
            connection.send(_Failure(error))
            return
        while True:
            request = connection.recv()
            try:
                answer: Answer | _Failure = work(request)
            except Exception as error:  # noqa: BLE001 — as above
                answer = _Failure(error)
            connection.send(answer)
