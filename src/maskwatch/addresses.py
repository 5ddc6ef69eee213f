"""Addresses of cameras and receivers, without their secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SECRET_NAMES = re.compile(r"pass|pwd|secret|token|key|auth|user|login", re.IGNORECASE)


def redact(uri: str) -> str:
    """`uri` without user names, passwords and keys, fit for screens, logs and files."""
    parts = urlsplit(uri)
    if not parts.scheme or not parts.netloc:
        return uri
    host = parts.netloc.rpartition("@")[2]
    query = urlencode(
        [(key, "***" if _SECRET_NAMES.search(key) else value) for key, value in parse_qsl(parts.query)],
        safe="*",
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
