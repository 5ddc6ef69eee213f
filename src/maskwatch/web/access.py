"""`Guard`: the door of the server: who may ask, from which page, and what every answer carries.

Below the framework, so that nothing a route does or forgets can open it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from maskwatch.errors import OptionError, ServiceError
from maskwatch.web import headers
from maskwatch.web.live_page import LOOPBACK
from maskwatch.web.problems import start_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

COOKIE: Final = "maskwatch_session"
SHORTEST_KEY: Final = 16
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OPEN: Final = ("/v1/session",)
_CLOSED: Final = ("/v1/", "/metrics")


@dataclass(frozen=True)
class Access:
    """Who may use the server.

    Attributes:
        api_key: what callers must show; None: nothing.
        cors_origins: pages of other hosts that may call, for example "https://shop.example".
        checks_host: whether the server is only to be reached by a name of this machine.

    Raises:
        OptionError: the key is too short, or an origin is none.
    """

    api_key: str | None = None
    cors_origins: tuple[str, ...] = ()
    checks_host: bool = True

    def __post_init__(self) -> None:
        if self.api_key is not None and len(self.api_key) < SHORTEST_KEY:
            raise OptionError(f"an API key needs at least {SHORTEST_KEY} characters")
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or "*" in origin:
                raise OptionError(f"{origin!r} is no origin; write https://HOST or http://HOST:PORT")

    def is_key(self, given: str) -> bool:
        """Whether `given` is the key; takes the same time for every wrong one."""
        return self.api_key is not None and hmac.compare_digest(_digest(given), _digest(self.api_key))

    @property
    def session(self) -> str:
        """What the cookie of a browser holds that has shown the key; the key cannot be had from it."""
        assert self.api_key is not None
        return hmac.new(self.api_key.encode(), b"maskwatch session", hashlib.sha256).hexdigest()

    def lets_in(self, given: Headers) -> bool:
        """Whether a request shows the key, as `Authorization: Bearer`, `X-API-Key` or the cookie."""
        if self.api_key is None:
            return True
        kind, _, token = given.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_key(token.strip()):
            return True
        if self.is_key(given.get("x-api-key", "")):
            return True
        return hmac.compare_digest(_digest(_cookie(given)), _digest(self.session))


class Guard:
    """ASGI middleware: refuses strangers, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message.setdefault("headers", [])
                given = MutableHeaders(scope=message)
                for name, value in headers.EVERYWHERE.items():
                    given.setdefault(name, value)
                given.setdefault("Content-Security-Policy", headers.NOTHING)
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is None:
            try:
                await self._app(scope, receive, send_with_headers)
                return
            except Exception:
                log.exception("%s %s failed", scope["method"], scope["path"])
                if started:
                    raise
                refusal = ServiceError("this is a fault of the server; its log says more", status=500)
        for message in start_of(refusal):
            await send_with_headers(message)

    def _refusal(self, method: str, path: str, given: Headers) -> ServiceError | None:
        host = given.get("host", "")
        if self._access.checks_host and _hostname(host) not in LOOPBACK:
            return ServiceError("open the page by its address, 127.0.0.1", status=421)
        origin = given.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != host
        if is_foreign and method not in _SAFE and origin not in self._access.cors_origins:
            return ServiceError(
                f"pages of {origin!r} may not call this server; see --cors-origin", status=403
            )
        is_closed = path.startswith(_CLOSED) and path not in _OPEN
        if is_closed and method != "OPTIONS" and not self._access.lets_in(given):
            return ServiceError("an API key is needed: send Authorization: Bearer KEY", status=401)
        return None


def key_of(lines: Sequence[str]) -> str:
    """The key in the lines of a file: the first that is neither empty nor a comment.

    Raises:
        OptionError: there is none.
    """
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise OptionError("the file of the API key holds no key; write one line of 16 characters or more")
    return keys[0]


def _digest(text: str) -> bytes:
    """Of equal length for all, so that comparing tells nothing of the length either."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _cookie(given: Headers) -> str:
    try:
        morsel = SimpleCookie(given.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
