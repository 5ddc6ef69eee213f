"""The pages' own files, as both servers and the exported folder hand them out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.abc import Traversable

KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}
_LOOSE: Final = {"": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8"}

RUNTIME: Final = "app/vendor/ort/ort.wasm.min.mjs"
"""Without this file nothing can be detected in the browser."""


@functools.cache
def names() -> frozenset[str]:
    """Every file below `static`, by its path in an address: nothing else can be asked for."""
    return frozenset(_below(resources.files("maskwatch") / "web" / "static", ""))


def content(name: str) -> bytes | None:
    """The bytes of one of `names`, None for any other."""
    if name not in names():
        return None
    return _read(name)


def kind_of(name: str) -> str:
    """The media type of a file by its suffix."""
    suffix = "." + name.rpartition(".")[2] if "." in name else ""
    return KINDS.get(suffix) or _LOOSE.get(suffix) or "application/octet-stream"


def page(name: str, facts: Mapping[str, str]) -> bytes:
    """A page with what it has to know, as `data-…` of its <html>; `facts` are our own words, no input."""
    html = content(name)
    assert html is not None, name
    words = "".join(f' data-{key}="{value}"' for key, value in facts.items())
    return html.replace(b'<html lang="en"', b'<html lang="en"' + words.encode(), 1)


@functools.lru_cache(maxsize=64)
def _read(name: str) -> bytes:
    return (resources.files("maskwatch") / "web" / "static" / name).read_bytes()


def _below(folder: Traversable, path: str) -> list[str]:
    found = []
    for one in folder.iterdir():
        name = f"{path}{one.name}"
        found += _below(one, f"{name}/") if one.is_dir() else [name]
    return found
