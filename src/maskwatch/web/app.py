"""`create_app`: the whole HTTP interface, put together from its routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from maskwatch._version import __version__
from maskwatch.model_card import ModelCard
from maskwatch.web import meters, schemas
from maskwatch.web.access import Guard
from maskwatch.web.camera_routes import camera_routes, event_routes
from maskwatch.web.detect_routes import detect_routes
from maskwatch.web.models import card_for_browsers
from maskwatch.web.page_routes import page_routes, session_routes
from maskwatch.web.problems import tell_problems
from maskwatch.web.service import Service
from maskwatch.web.video_routes import video_routes

_DESCRIPTION = """Tells for every face in pictures and videos whether a mask is worn, worn wrong, or not worn.

Errors are problem details (RFC 9457). With an API key, send `Authorization: Bearer KEY`."""


def create_app(service: Service) -> FastAPI:
    """An ASGI application that answers with `service`."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if service.cameras is not None:
            await service.cameras.close()

    app = FastAPI(
        lifespan=lifespan,
        title="maskwatch",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    tell_problems(app)
    for routes in (
        detect_routes(service),
        video_routes(service),
        _state_routes(service),
        camera_routes(service),
        event_routes(service),
        session_routes(service),
        page_routes(service),
    ):
        app.include_router(routes)
    # the last one added is the outermost
    app.add_middleware(Guard, access=service.access)
    if service.access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.access.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "Accept"],
            expose_headers=["Location", "Retry-After"],
        )
    app.add_middleware(meters.Timer, meters=service.meters)
    return app


def _state_routes(service: Service) -> APIRouter:
    """The model's card, health, and figures for Prometheus."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/model", summary="The model's card", response_model=ModelCard)
    async def model() -> Response:
        stages = service.batcher.stages
        second = {} if stages is None else {"classifier": stages.classifier.card.name}
        return JSONResponse({**card_for_browsers(service.batcher.detector.card), **second})

    @router.get("/v2/health/live", summary="Is it alive?", response_model=schemas.Health)
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get("/v2/health/ready", summary="Does it answer pictures?", response_model=schemas.Health)
    async def ready() -> Response:
        is_ready = service.batcher.is_running and service.videos.is_running
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.meters.text(), media_type=meters.MEDIA_TYPE)

    return router
