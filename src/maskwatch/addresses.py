"""Addresses of cameras and receivers, and names of files, in a form that may be shown and stored."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SHOWN_NAMES = re.compile(
    r"channel|ch|chn|stream|subtype|profile|resolution|res|size|width|height|fps|codec|camera|cam|type|mode|port",
    re.IGNORECASE,
)
"""What a query may show: all other values are hidden, as nobody knows every maker's name for a password."""
_SECRET_IN_PATH = re.compile(
    r"(?P<name>(?:user|usr|login|pass|pwd|pw|psw|secret|token|key|auth|sig)[a-z_-]*)=[^&;/]*", re.IGNORECASE
)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_USER_AND_PASSWORD = re.compile(r"^.*:[^\\]*@", re.DOTALL)
_HARMLESS_VALUE = re.compile(r"[\w.-]{0,20}")
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def redact(uri: str) -> str:
    """`uri` without user names, passwords and keys, fit for screens, logs and files.

    Rather too much is hidden than too little: all up to the last @, whatever a password holds; every
    value of a query but harmless ones. Names of files stay as they are.
    """
    found = _SCHEME.match(uri)
    if found is None:
        return printable(_USER_AND_PASSWORD.sub("***@", uri))
    place, _, query = uri[found.end() :].rpartition("@")[2].partition("#")[0].partition("?")
    place = _SECRET_IN_PATH.sub(lambda part: f"{part['name']}=***", place)
    shown = [_shown(part) for part in query.split("&")] if query else []
    return printable(found[0] + place + ("?" + "&".join(shown) if shown else ""))


def _shown(part: str) -> str:
    """One `name=value` of a query, the value hidden unless it is harmless."""
    name, sign, value = part.partition("=")
    if not sign:
        return "***"
    is_shown = _SHOWN_NAMES.fullmatch(name) and _HARMLESS_VALUE.fullmatch(value)
    return f"{name}={value if is_shown else '***'}"


def origin_of(uri: str) -> str:
    """Scheme, host and port alone: the path of a webhook is often its secret."""
    found = _SCHEME.match(uri)
    if found is None:
        return "***"
    host = re.split(r"[/?#]", uri[found.end() :].rpartition("@")[2], maxsplit=1)[0]
    return printable(f"{found[0]}{host}/…")


def scheme_of(uri: str) -> str:
    """The scheme in lower case; "" for what is no address, or a broken one."""
    try:
        return urlsplit(uri).scheme.lower()
    except ValueError:
        return ""


def printable(text: str) -> str:
    r"""`text` with control characters, and bytes that are no text, written as `\x1b` or `\udcff`.

    A file's name may hold line breaks, sequences that steer a terminal, marks that turn the order of
    letters, and bytes that no text file or database takes.
    """
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
