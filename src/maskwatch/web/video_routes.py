"""/v1/videos: a video becomes a job that can be asked after, fetched and cancelled."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from maskwatch.errors import ServiceError
from maskwatch.events import Rules
from maskwatch.pipeline import ClipOptions, WatchOptions
from maskwatch.tracker import TrackOptions
from maskwatch.web import schemas
from maskwatch.web.detect_routes import PROBLEMS
from maskwatch.web.service import Service
from maskwatch.web.uploads import FIELD, read_video
from maskwatch.web.videos import VideoJobs

_VIDEO = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _VIDEO}}
        },
        **{kind: {"schema": _VIDEO} for kind in ("video/mp4", "video/webm", "video/x-matroska")},
    },
}
_NONE: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.Problem, "description": "There is no such video, or no longer."}
}
_NOT_YET: dict[int | str, dict[str, Any]] = {
    **_NONE,
    409: {"model": schemas.Problem, "description": "It is not done, or has failed."},
}


def video_routes(service: Service) -> APIRouter:
    """Hand in, and all that comes after, working with `service`."""
    router = APIRouter(tags=["videos"])
    router.include_router(_hand_in(service))
    router.include_router(_ask_after(service.videos))
    return router


def _hand_in(service: Service) -> APIRouter:
    router = APIRouter()
    track = TrackOptions(score_threshold=service.batcher.detector.card.score_threshold)

    @router.post(
        "/v1/videos",
        status_code=202,
        summary="Hand in a video",
        openapi_extra={"requestBody": _BODY},
        response_class=JSONResponse,
        responses={202: {"model": schemas.Job}, **{k: v for k, v in PROBLEMS.items() if k not in (406, 503)}},
    )
    async def submit(
        request: Request,
        every: Annotated[
            int | None,
            Query(
                ge=1,
                le=100,
                description="Look at every so many frames, follow in between. "
                "By default 12.5 times a second, and at every frame with `blur`.",
            ),
        ] = None,
        without_mask_s: Annotated[
            float, Query(ge=0, description="Alert when a person is without a mask for so many seconds.")
        ] = 2.0,
        copy: Annotated[bool, Query(description="Make an annotated copy, too.")] = True,
        blur: Annotated[bool, Query(description="Make faces in the copy unrecognisable.")] = False,
    ) -> Response:
        """The answer names the job; ask after it at its `Location`."""
        options = ClipOptions(
            every=every,
            blur=blur,
            watch=WatchOptions(rules=Rules(without_mask_s=without_mask_s), track=track),
            workers=service.limits.worker_count,
        )
        with service.videos.receive() as incoming:
            name = await read_video(request, service.limits, incoming.open)
            job = incoming.submit(name, options, with_copy=copy)
        return JSONResponse(job.to_dict(), 202, {"Location": f"/v1/videos/{job.job_id}"})

    return router


def _ask_after(jobs: VideoJobs) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/videos", summary="All videos that are kept", response_model=schemas.Jobs)
    async def every_job() -> Response:
        return JSONResponse({"videos": [job.to_dict() for job in jobs.kept()]})

    @router.get(
        "/v1/videos/{job_id}", summary="How a video is doing", response_model=schemas.Job, responses=_NONE
    )
    async def one_job(job_id: str) -> Response:
        return JSONResponse(jobs.get(job_id).to_dict())

    @router.get(
        "/v1/videos/{job_id}/result",
        summary="What was seen",
        response_model=schemas.VideoResult,
        responses=_NOT_YET,
    )
    async def result(job_id: str) -> Response:
        job = jobs.get(job_id)
        if job.result is None:
            raise ServiceError(f"this video is {job.state}{': ' * bool(job.detail)}{job.detail}", status=409)
        return JSONResponse(job.result)

    @router.get(
        "/v1/videos/{job_id}/copy",
        summary="The annotated copy (MP4)",
        response_class=FileResponse,
        responses={200: {"content": {"video/mp4": {"schema": _VIDEO}}}, **_NOT_YET},
    )
    async def annotated_copy(job_id: str) -> Response:
        job = jobs.get(job_id)
        if job.state != "done" or job.copy is None or not job.copy.is_file():
            raise ServiceError(f"there is no copy: this video is {job.state}", status=409)
        return FileResponse(job.copy, media_type="video/mp4", filename="annotated.mp4")

    @router.delete(
        "/v1/videos/{job_id}", status_code=204, summary="Cancel or delete a video", responses=_NONE
    )
    async def delete(job_id: str) -> Response:
        jobs.delete(job_id)
        return Response(status_code=204)

    return router
