"""Events to a web address of the user's, signed, as JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Sequence

from maskwatch.addresses import origin_of
from maskwatch.errors import MissingExtraError, OptionError, RejectedError, SourceError
from maskwatch.sinks.spool import SpooledEvent

NEVER_ACCEPTED = {400, 413, 415, 422}
"""Answers that say that the content itself is wrong; sending it again would block all that follow."""


class Webhook:
    """Posts `{"events": [{"event_id": …, "kind": …, …}, …]}`.

    With a secret, the header `X-Maskwatch-Signature` is `sha256=` and the hexadecimal HMAC-SHA256 of
    `<X-Maskwatch-Timestamp>.<body>`. A receiver that answers late may get a batch twice: `event_id`
    stays the same.

    Raises:
        MissingExtraError: httpx is not installed.
        OptionError: the address is none.
    """

    def __init__(self, url: str, *, secret: str = "", timeout_s: float = 5.0) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError.for_extra("a webhook", "httpx", "sinks") from error
        self.name = origin_of(url)
        self._url, self._secret = url, secret
        try:
            if not httpx.URL(url).host:
                raise OptionError(f"{self.name}: no host; write https://HOST/PATH")
        except httpx.InvalidURL as error:
            raise OptionError(f"{self.name}: no web address ({error}); write https://HOST/PATH") from error
        self._client = httpx.Client(timeout=timeout_s, headers={"User-Agent": "maskwatch"})

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Post one batch.

        Raises:
            RejectedError: the receiver says that it will never take it.
            SourceError: it cannot be reached, or answers with another error.
        """
        import httpx

        content = {"events": [{"event_id": event.event_id, **event.values} for event in events]}
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "X-Maskwatch-Timestamp": str(int(time.time()))}
        if self._secret:
            headers["X-Maskwatch-Signature"] = sign(body, headers["X-Maskwatch-Timestamp"], self._secret)
        try:
            # what it answers beside the status is not read: it may be endless
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"{self.name}: cannot be reached ({type(error).__name__})") from error
        if status in NEVER_ACCEPTED:
            raise RejectedError(f"{self.name}: refused {len(events)} events with status {status}")
        if not 200 <= status < 300:
            raise SourceError(f"{self.name}: answered with status {status}; events are kept")

    def close(self) -> None:
        """Release the connection."""
        self._client.close()


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The value of `X-Maskwatch-Signature`; receivers compute the same and compare in constant time."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"
