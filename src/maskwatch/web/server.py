"""`WebServer`: uvicorn in a thread, so that a command, a test or a notebook can start and stop it."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import uvicorn

from maskwatch.errors import SourceError

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from typing_extensions import Self

START_WITHIN_S = 30.0
STOP_WITHIN_S = 5
BACKLOG = 2048


class WebServer:
    """Serves an application; a context manager.

    Raises:
        SourceError: the port is taken, or the address is not this machine's.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 8360) -> None:
        """Port 0 takes a free one."""
        self._socket = _listen(host, port)
        config = uvicorn.Config(
            app,
            http="h11",  # limits the size of headers, which httptools does not
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_WITHIN_S,
        )
        self._server = uvicorn.Server(config)
        arguments: dict[str, Any] = {"sockets": [self._socket]}
        self._thread = threading.Thread(
            target=self._server.run, kwargs=arguments, name="maskwatch-web", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + START_WITHIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise SourceError(f"the server at {self.url} did not start; its log says why")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    @property
    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()


def _listen(host: str, port: int) -> socket.socket:
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio only sends at once (TCP_NODELAY) what it knows to be TCP; else each answer waits 40 ms
        listener = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise SourceError(
            f"the pages cannot be served at {host}:{port} ({error.strerror}); choose another --port"
        ) from error
    return listener
