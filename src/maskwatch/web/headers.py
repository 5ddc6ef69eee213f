"""Headers that keep pages and answers where they belong: CSP, isolation, and no guessing of types.

COOP and COEP let a page use several threads (without them two threads silently become one). The page
for detection in the browser gets a policy that lets it load its own files and nothing else, so a
picture cannot leave it, whatever its code does.
"""

from __future__ import annotations

import re
from typing import Final

EVERYWHERE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
"""For JSON and pictures: should a browser ever show one as a page, it can do nothing."""

_PAGE: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src {images}; media-src blob:; connect-src {connections}; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_FRAMES: Final = "; frame-ancestors 'none'"
_HOST: Final = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")


def device_policy(host: str) -> str:
    """For detection in the browser: requests may only fetch files below /app/ of this very server."""
    own = f"{host}/app/" if _HOST.fullmatch(host) else "'self'"
    return _PAGE.format(images=f"{own} blob: data:", connections=own) + _FRAMES


def server_policy() -> str:
    """For the pages that talk to the server: requests may go to this server, and nowhere else."""
    return _PAGE.format(images="'self' blob: data:", connections="'self'") + _FRAMES


def folder_policy() -> str:
    """For an exported folder, as a <meta> tag: files of the host that serves it, which takes nothing."""
    return _PAGE.format(images="'self' blob: data:", connections="'self'")


def docs_policy() -> str:
    """For the API's documentation, whose library sets styles of its own."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
