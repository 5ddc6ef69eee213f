"""The pages and their files: nothing here needs the API key, as nothing here is anybody's data."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from maskwatch.errors import ServiceError
from maskwatch.web import files, headers, schemas
from maskwatch.web.access import COOKIE
from maskwatch.web.service import Service

_PACKED = (".html", ".js", ".mjs", ".css", ".svg", ".json", ".wasm")
_SMALLEST_PACKED = 1024


def page_routes(service: Service) -> APIRouter:
    """The routes, working with `service`."""
    router = APIRouter(include_in_schema=False)
    facts = {
        "server": "serve",
        "cameras": "yes" if service.cameras is not None else "no",
        "events": "yes" if service.events is not None else "no",
        "key": "yes" if service.access.api_key is not None else "no",
    }

    @router.get("/")
    async def home(request: Request) -> Response:
        """Detection on the device may fetch files alone; on the server, it may call the API."""
        engine = "server" if request.query_params.get("engine") == "server" else "device"
        host = request.headers.get("host", "")
        policy = headers.server_policy() if engine == "server" else headers.device_policy(host)
        return _page("index.html", {**facts, "engine": engine}, policy)

    @router.get("/dashboard")
    async def dashboard() -> Response:
        return _page("dashboard.html", facts, headers.server_policy())

    @router.get("/docs")
    async def docs() -> Response:
        return _page("docs.html", facts, headers.docs_policy())

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return RedirectResponse("/app/icon.svg", 301)

    @router.get("/app/models/{name}")
    async def model(request: Request, name: str) -> Response:
        content = service.models.content(name)
        if content is None:
            raise ServiceError(f"no model {name!r} is offered", status=404)
        return _file(request, f"app/models/{name}", content)

    @router.get("/app/{path:path}")
    async def file(request: Request, path: str) -> Response:
        content = files.content(f"app/{path}")
        if content is None:
            raise ServiceError("no such file; see docs/web.md on what npm brings", status=404)
        return _file(request, f"app/{path}", content)

    return router


def session_routes(service: Service) -> APIRouter:
    """A browser shows the key once, and keeps a cookie that no script can read."""
    router = APIRouter(tags=["access"])

    @router.post("/v1/session", status_code=204, summary="Exchange the API key for a cookie")
    async def open_session(request: Request, given: schemas.Key) -> Response:
        if not service.access.is_key(given.key):
            raise ServiceError("this is not the API key", status=401)
        response = Response(status_code=204)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, service.access.session, httponly=True, samesite="strict", secure=secure)
        return response

    return router


def _page(name: str, facts: dict[str, str], policy: str) -> Response:
    return Response(
        files.page(name, facts), headers={"Content-Security-Policy": policy}, media_type=files.kind_of(name)
    )


def _file(request: Request, name: str, content: bytes) -> Response:
    """One file, packed where the browser can unpack it; it is asked for again only if it has changed."""
    etag = f'"{_digest(content)}"'
    own = {
        "Content-Security-Policy": headers.device_policy(request.headers.get("host", "")),
        "Cache-Control": "no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=own)
    can_unpack = "gzip" in request.headers.get("accept-encoding", "")
    if can_unpack and name.endswith(_PACKED) and len(content) >= _SMALLEST_PACKED:
        content, own["Content-Encoding"] = _packed(content), "gzip"
    return Response(content, headers=own, media_type=files.kind_of(name))


@lru_cache(maxsize=64)
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


@lru_cache(maxsize=256)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
