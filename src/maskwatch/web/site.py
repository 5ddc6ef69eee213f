"""`export_site`: the page for detection in the browser as a folder of plain files that anyone can host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskwatch.errors import OptionError, SourceError
from maskwatch.web import files, headers
from maskwatch.web.models import OfferedModels

_PAGE = "index.html"
_WORKER = "sw.js"
_LEFT_OUT = (
    "dashboard.html",
    "docs.html",
    *(f"app/{name}.js" for name in ("docs", "dashboard", "alerts", "events", "cameras", "chart")),
)
_LEFT_OUT_FOLDERS = ("app/vendor/swagger/", "app/vendor/uplot/")
_LATER = ("app/vendor/ort/ort.webgpu", "app/vendor/ort/ort-wasm-simd-threaded.asyncify")
"""The graphics card's runtime is kept once it was used: it is large, and many devices have no use for it."""


@dataclass(frozen=True)
class Site:
    """What was written: the folder, its files by name and size in bytes, and what is missing in it."""

    folder: Path
    sizes: dict[str, int]
    missing: str


def export_site(folder: Path, models: Sequence[Path] = ()) -> Site:
    """Write the page, its runtime and the detectors to `folder`; `models` as for `OfferedModels`.

    The folder needs no server of ours and works under any address. A service worker keeps it for use
    without a network, and adds the headers that threads need where the host does not send them.

    Raises:
        OptionError: the folder holds something else.
        SourceError: it cannot be written.
        ModelError: a model is none of ours.
    """
    offered = OfferedModels(models)
    contents = {name: _own(name) for name in files.names() if _is_wanted(name)}
    contents |= {f"app/models/{one.file}": one.data for one in offered}
    contents["app/models/index.json"] = offered.index()
    contents[_PAGE] = _page()
    contents["_headers"] = _host_headers()
    contents[_WORKER] = _service_worker(contents)
    if folder.exists() and not (
        folder.is_dir() and (not any(folder.iterdir()) or (folder / _WORKER).is_file())
    ):
        raise OptionError(f"{folder}: holds something else; name a new or empty folder")
    for name, content in contents.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise SourceError(
                f"{path}: cannot be written ({error.strerror}); choose another folder"
            ) from error
    missing = (
        "" if files.RUNTIME in contents else "onnxruntime-web is not in this installation (npm was missing)"
    )
    return Site(folder, {name: len(content) for name, content in contents.items()}, missing)


def _is_wanted(name: str) -> bool:
    return name not in _LEFT_OUT and not name.startswith(_LEFT_OUT_FOLDERS)


def _own(name: str) -> bytes:
    content = files.content(name)
    assert content is not None, name
    return content


def _page() -> bytes:
    page = files.page(_PAGE, {"server": "none", "engine": "device", "cameras": "no"})
    policy = f'<meta http-equiv="Content-Security-Policy" content="{headers.folder_policy()}">'
    return page.replace(b"<!--policy-->", policy.encode())


def _service_worker(contents: dict[str, bytes]) -> bytes:
    """The worker with its list of files, and a version that changes when any of them does."""
    kept = sorted(
        name for name in contents if name not in (_WORKER, "_headers") and not name.startswith(_LATER)
    )
    digest = hashlib.sha256()
    for name in kept:
        digest.update(name.encode() + b"\0" + hashlib.sha256(contents[name]).digest())
    listed = ", ".join(json.dumps(name) for name in ["./", *kept])
    worker = _own(_WORKER).replace(b"/*version*/", digest.hexdigest()[:16].encode())
    return worker.replace(b"[/*files*/]", f"[{listed}]".encode())


def _host_headers() -> bytes:
    """A file that some hosts (Netlify, Cloudflare Pages) read: then even the first visit has threads."""
    lines = [f"  {name}: {value}" for name, value in headers.EVERYWHERE.items()]
    return "\n".join(["/*", *lines, ""]).encode()
