"""POST /v1/detect: pictures in, faces or the drawn picture out."""

import asyncio
import json
from typing import Annotated, Any, Optional

import anyio
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from maskwatch.errors import MaskwatchError, ServiceError
from maskwatch.web import schemas
from maskwatch.web.answers import answer_of
from maskwatch.web.batching import Look, Task
from maskwatch.web.service import Service
from maskwatch.web.uploads import FIELD, PICTURE_FORMATS, Upload, check_picture, read_pictures

_PICTURE = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "array", "items": _PICTURE}},
            }
        },
        **{f"image/{kind}": {"schema": _PICTURE} for kind in PICTURE_FORMATS},
    },
}
_FOUND: dict[str, Any] = {
    "model": schemas.Answer,
    "content": {"image/jpeg": {"schema": _PICTURE}},
    "description": "Faces of each picture and a summary; or, for one picture and `Accept: image/jpeg`, the "
    "picture with boxes drawn on it.",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": words}
    for status, words in {
        400: "No picture, no form, or a parameter out of range.",
        401: "The API key is missing or wrong.",
        406: "Another form of answer than there is.",
        408: "The body did not arrive in time.",
        413: "Too many bytes, pixels or pictures.",
        415: "Another format than those that are read.",
        422: "A picture that cannot be decoded.",
        429: "The server is busy: come back after `Retry-After` seconds.",
        503: "Not done in time.",
    }.items()
}


def detect_routes(service: Service) -> APIRouter:
    """The route, working with `service`."""
    router = APIRouter(tags=["pictures"])

    @router.post(
        "/v1/detect",
        summary="Find faces and say who wears a mask",
        openapi_extra={"requestBody": _BODY},
        response_class=Response,
        responses={200: _FOUND, **PROBLEMS},
    )
    async def detect(
        request: Request,
        score_threshold: Annotated[
            Optional[float],
            Query(ge=0.01, le=1, description="Leave out faces below; the model's own value by default."),
        ] = None,
        max_side: Annotated[
            Optional[int],
            Query(
                ge=32,
                le=service.limits.max_side,
                description="Scale larger pictures down to this, in px; by default to 1024, and to 2048 "
                "where small faces are found then, or none.",
            ),
        ] = None,
        turned: Annotated[
            bool,
            Query(description="Look at a picture without a sure face sideways and upside down, too."),
        ] = True,
        blur: Annotated[
            bool, Query(description="Make faces unrecognisable in the picture that is sent back.")
        ] = False,
    ) -> Response:
        """Send one picture as the body, or several as fields `file` of a form.

        Of several pictures each has its own `faces` or, if it cannot be read, its own `problem`.
        """
        drawn = _wants_picture(request)
        with service.gate.enter() as ticket:
            uploads: list[Upload] | None = None
            try:
                with anyio.fail_after(service.limits.timeout_s):
                    uploads = await read_pictures(request, service.limits, ticket)
                    if drawn and len(uploads) > 1:
                        raise ServiceError("image/jpeg answers one picture; ask for JSON", status=406)
                    tasks = [
                        Task(one.data, max_side, score_threshold, turned, drawn, blur) for one in uploads
                    ]
                    looks = await asyncio.gather(
                        *(_look(service, one, task) for one, task in zip(uploads, tasks, strict=True))
                    )
            except TimeoutError as error:
                raise _too_late(service, arrived=uploads is not None) from error
        if len(looks) == 1 and isinstance(looks[0], MaskwatchError):
            raise looks[0]
        if drawn:
            assert isinstance(looks[0], Look)
            return Response(looks[0].jpeg, media_type="image/jpeg")
        body = json.dumps(answer_of(service.batcher.detector.card, uploads, looks), ensure_ascii=False)
        return Response(body.encode(), media_type="application/json")

    return router


async def _look(service: Service, upload: Upload, task: Task) -> Look | MaskwatchError:
    """One picture's faces, or why there are none."""
    try:
        check_picture(upload, service.limits)
        look = await asyncio.wrap_future(service.batcher.submit(task))
    except MaskwatchError as error:
        service.meters.images.labels("refused").inc()
        return error
    service.meters.note_faces(look.detections)
    return look


def _too_late(service: Service, *, arrived: bool) -> ServiceError:
    limit = service.limits.timeout_s
    if arrived:
        return ServiceError(f"not looked at within {limit:g} s", status=503, retry_after_s=5)
    return ServiceError(f"the request's body did not arrive within {limit:g} s", status=408)


def _wants_picture(request: Request) -> bool:
    """Whether the caller prefers a JPEG over JSON.

    Raises:
        ServiceError: it takes neither.
    """
    wanted: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [one[2:] for one in parameters if one.startswith("q=")]
        try:
            wanted[kind] = float(weights[0]) if weights else 1.0
        except ValueError:
            wanted[kind] = 0.0
    json_weight = max(wanted.get(kind, 0.0) for kind in ("application/json", "application/*", "*/*"))
    picture_weight = max(wanted.get(kind, 0.0) for kind in ("image/jpeg", "image/*"))
    if max(json_weight, picture_weight) <= 0:
        raise ServiceError("the answer is application/json or image/jpeg; ask for one of them", status=406)
    return picture_weight > json_weight
