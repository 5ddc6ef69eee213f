"""Reads pictures and videos out of requests, within limits and without believing what callers say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from maskwatch.errors import ServiceError
from maskwatch.picture_header import read_header
from maskwatch.web.gate import Ticket
from maskwatch.web.limits import MIB, Limits

FIELD = "file"
PICTURE_FORMATS = ("jpeg", "png", "webp", "gif", "bmp")
NAME_LENGTH = 120
_RAW_TYPES = ("image/", "application/octet-stream")
_VIDEO_TYPES = ("video/", "image/gif", "application/octet-stream")
_MARK_BYTES = 16
_VIDEO_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", ".mp4"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (8, b"AVI ", ".avi"),
    (0, b"GIF8", ".gif"),
)
"""Place and bytes by which a video is known. Nothing else reaches FFmpeg: a playlist would have it open
other files and addresses."""


@dataclass(frozen=True)
class Upload:
    """One picture as it came: a name for people, never a path, and the file's bytes."""

    name: str
    data: bytes


class _InMemory(MultiPartParser):
    """Keeps files in memory: limits are set by the caller, and nothing of them touches a disk."""

    spool_max_size = 2**40


async def read_pictures(request: Request, limits: Limits, ticket: Ticket) -> list[Upload]:
    """The pictures of a request: its whole body, or the fields `file` of a form.

    Raises:
        ServiceError: none, too many, too large, or of another type.
    """
    _check_declared(request, limits.body_bytes, "request")
    kind = _content_type(request)
    if kind == "multipart/form-data":
        uploads = await _form_pictures(request, limits, ticket)
    elif kind.startswith(_RAW_TYPES):
        body = bytearray()
        async for chunk in request.stream():
            ticket.take(len(chunk))
            body += chunk
        uploads = [Upload("", bytes(body))]
    else:
        raise ServiceError(
            f"{kind or 'no content type'}: send a picture as it is (image/jpeg …), or as the field "
            f"{FIELD!r} of multipart/form-data",
            status=415,
        )
    if not uploads or not any(one.data for one in uploads):
        raise ServiceError("the request holds no picture; send one as its body", status=400)
    return uploads


def check_picture(upload: Upload, limits: Limits) -> None:
    """Refuse what should not be decoded.

    Raises:
        ServiceError: another format (415), too many bytes or pixels (413).
    """
    name = upload.name or "picture"
    if len(upload.data) > limits.picture_bytes:
        raise ServiceError(
            f"{name}: {len(upload.data) / MIB:.1f} MiB are more than the limit of "
            f"{limits.picture_bytes / MIB:g} MiB; scale it down first",
            status=413,
        )
    header = read_header(upload.data)
    if header is None or header.kind.lower() not in PICTURE_FORMATS:
        raise ServiceError(
            f"{name}: no picture of a format that is read here ({', '.join(PICTURE_FORMATS)})", status=415
        )
    width, height = header.size_wh
    if width * height > limits.pixels:
        raise ServiceError(
            f"{name}: {width}×{height} pixels are more than the limit of {limits.pixels:,}; "
            "scale it down first",
            status=413,
        )


async def read_video(request: Request, limits: Limits, target: Callable[[str], BinaryIO]) -> str:
    """Write the video of a request to what `target` opens for its suffix; the name it came with.

    Raises:
        ServiceError: none, too large, or of another type.
    """
    _check_declared(request, limits.video_bytes, "video")
    kind = _content_type(request)
    if kind == "multipart/form-data":
        return await _form_video(request, limits, target)
    if not kind.startswith(_VIDEO_TYPES):
        raise ServiceError(
            f"{kind or 'no content type'}: send a video as it is (video/mp4 …), or as the field {FIELD!r} "
            "of multipart/form-data",
            status=415,
        )
    await _raw_video(request, limits, target)
    return ""


async def _form_video(request: Request, limits: Limits, target: Callable[[str], BinaryIO]) -> str:
    form = await _form(MultiPartParser(request.headers, _counted(request, limits), max_files=1))
    try:
        files = [value for value in form.getlist(FIELD) if isinstance(value, UploadFile)]
        if not files:
            raise ServiceError(f"the form has no file called {FIELD!r}", status=400)
        suffix = _video_suffix(await files[0].read(_MARK_BYTES))
        await files[0].seek(0)
        with target(suffix) as out:
            while chunk := await files[0].read(MIB):
                out.write(chunk)
    finally:
        await form.close()
    return _plain_name(files[0].filename)


async def _raw_video(request: Request, limits: Limits, target: Callable[[str], BinaryIO]) -> None:
    chunks = _counted(request, limits)
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _MARK_BYTES:
            break
    with target(_video_suffix(head)) as out:
        out.write(head)
        async for chunk in chunks:
            out.write(chunk)


async def _form_pictures(request: Request, limits: Limits, ticket: Ticket) -> list[Upload]:
    async def counted() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            ticket.take(len(chunk))
            yield chunk

    parser = _InMemory(request.headers, counted(), max_files=limits.pictures, max_fields=16)
    form = await _form(parser)
    try:
        files = [value for value in form.getlist(FIELD) if isinstance(value, UploadFile)]
        return [Upload(_plain_name(file.filename), await file.read()) for file in files]
    finally:
        await form.close()


async def _form(parser: MultiPartParser) -> FormData:
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise ServiceError(f"the form cannot be read: {error.message}", status=400) from error


async def _counted(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """A video's bytes as they come; a caller that falls silent, or sends too much, is let go."""
    size, chunks = 0, aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(limits.timeout_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise ServiceError(
                f"nothing of the video arrived for {limits.timeout_s:g} s", status=408
            ) from error
        size += len(chunk)
        if size > limits.video_bytes:
            raise ServiceError(_too_large(limits.video_bytes, "video"), status=413)
        yield chunk


def _check_declared(request: Request, most: int, what: str) -> None:
    """Refuse by the header alone, before the body is sent."""
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or int(declared) > most:
        raise ServiceError(_too_large(most, what), status=413)


def _too_large(most: int, what: str) -> str:
    return f"the {what} is larger than {most / MIB:g} MiB; send less at once"


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _video_suffix(head: bytes) -> str:
    for at, mark, suffix in _VIDEO_MARKS:
        if head[at : at + len(mark)] == mark:
            return suffix
    raise ServiceError("no video of a kind that is read here (MP4, MOV, WebM, MKV, AVI, GIF)", status=415)


def _plain_name(name: str | None) -> str:
    """The last part of a file's name, for display: printable, and not too long."""
    last = PurePosixPath((name or "").replace("\\", "/")).name
    return "".join(letter for letter in last if letter.isprintable())[:NAME_LENGTH]
