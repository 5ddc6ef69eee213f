"""POST /v1/detect: the same faces as in Python, and a clear answer to all that is no picture."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest

from maskwatch.web import schemas
from maskwatch.web.limits import Limits
from maskwatch.web.serving import ServeOptions, serving
from tests.conftest import crowd, jpeg
from tests.services.servers import wait_until
from tests.web.conftest import JPEG, asked


def encoded(image, kind):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def head(kind, length):
    """What a browser sends before a picture."""
    lines = (
        "POST /v1/detect HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def problem(answer, status):
    """The detail of a well-formed problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = schemas.Problem.model_validate(answer.json())
    assert content.status == status
    assert content.title
    return content.detail


def test_one_picture_as_it_is(http, one_thread, masked):
    data = jpeg(masked)
    answer = http.post("/v1/detect", content=data, headers=JPEG)
    assert answer.status_code == 200
    content = answer.json()
    schemas.Answer.model_validate(content)
    (image,) = content["images"]
    assert image["faces"] == one_thread.detect(data).to_dicts()
    assert [face["verdict"] for face in image["faces"]] == ["with_mask"]
    assert (image["width"], image["height"]) == (512, 512)
    assert content["summary"]["compliance"] == 1.0
    assert content["model"]["sha256"] == one_thread.card.sha256


def test_a_photo_on_its_head_is_looked_at_turned_unless_told_not_to(http, one_thread, astronaut):
    data = encoded(astronaut[::-1, ::-1], "PNG")
    answers = {
        turned: http.post(f"/v1/detect?turned={turned}", content=data, headers=JPEG).json()
        for turned in ("true", "false")
    }
    found = {turned: answer["images"][0]["faces"] for turned, answer in answers.items()}
    assert found["true"] == one_thread.detect(data).to_dicts()
    assert [face["verdict"] for face in found["true"]] == ["without_mask"]
    assert found["false"] != found["true"]


def test_a_large_crowd_is_looked_at_from_closer_unless_a_side_is_named(http, one_thread, astronaut, face_box):
    data = encoded(crowd(astronaut, face_box, face_px=17, size_wh=(2048, 1536))[0], "PNG")
    (image,) = http.post("/v1/detect", content=data, headers=JPEG).json()["images"]
    assert image["faces"] == one_thread.detect(data).to_dicts()
    (at_once,) = http.post("/v1/detect?max_side=1024", content=data, headers=JPEG).json()["images"]
    assert len(at_once["faces"]) < len(image["faces"]) / 2


def test_several_pictures_of_which_some_are_none(http, masked, astronaut):
    files = [
        ("file", ("../../etc/bare.jpg", jpeg(astronaut), "image/jpeg")),
        ("file", ("junk.jpg", b"\xff\xd8 no picture", "image/jpeg")),
        ("file", ("C:\\photos\\masked.png", encoded(masked, "PNG"), "text/html")),
        ("other", ("not-asked-for.jpg", jpeg(astronaut), "image/jpeg")),
    ]
    content = http.post("/v1/detect", files=files).json()
    schemas.Answer.model_validate(content)
    assert [image["name"] for image in content["images"]] == ["bare.jpg", "junk.jpg", "masked.png"]
    assert content["images"][1]["problem"]["status"] == 415
    assert content["images"][0]["summary"]["without_mask"] == 1
    summary = content["summary"]
    assert (summary["images"], summary["failed"], summary["faces"]) == (3, 1, 2)
    assert summary["compliance"] == 0.5


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_formats_on_the_list(http, astronaut, kind):
    answer = http.post("/v1/detect", content=encoded(astronaut, kind), headers=JPEG)
    assert answer.json()["images"][0]["faces"][0]["verdict"] == "without_mask"


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "PPM", "ICO", "PDF"])
def test_other_formats_are_refused_before_decoding(http, astronaut, kind):
    answer = http.post("/v1/detect", content=encoded(astronaut[:64, :64], kind), headers=JPEG)
    assert "jpeg, png, webp, gif, bmp" in problem(answer, 415)


def test_the_drawn_picture(http, masked):
    data = jpeg(masked)
    answer = http.post("/v1/detect", content=data, headers={**JPEG, "Accept": "image/jpeg"})
    assert answer.headers["content-type"] == "image/jpeg"
    drawn = np.array(PIL.Image.open(io.BytesIO(answer.content))).astype(int)
    plain = np.array(PIL.Image.open(io.BytesIO(data))).astype(int)
    changed = np.abs(drawn - plain).max(axis=2) > 60
    assert changed[40:60, 170:272].any()
    assert not changed[300:].any()
    wanted = {**JPEG, "Accept": "image/jpeg;q=0.9, application/json;q=0.2"}
    blurred = http.post("/v1/detect?blur=true", content=data, headers=wanted)
    hidden = np.array(PIL.Image.open(io.BytesIO(blurred.content))).astype(int)
    assert np.abs(hidden - drawn)[90:130, 195:250].mean() > 10


def test_other_forms_of_answer(http, astronaut):
    data = jpeg(astronaut)
    refused = http.post("/v1/detect", content=data, headers={**JPEG, "Accept": "text/html"})
    assert "image/jpeg" in problem(refused, 406)
    browser = {**JPEG, "Accept": "text/html, image/avif, */*;q=0.8"}
    assert http.post("/v1/detect", content=data, headers=browser).json()["summary"]["faces"] == 1
    two = [("file", ("a.jpg", data)), ("file", ("b.jpg", data))]
    refused = http.post("/v1/detect", files=two, headers={"Accept": "image/jpeg"})
    assert "one picture" in problem(refused, 406)


def test_thresholds_are_each_callers_own(http, astronaut, one_thread):
    data = jpeg(astronaut)

    def faces(query=""):
        return http.post(f"/v1/detect{query}", content=data, headers=JPEG).json()["images"][0]["faces"]

    usual = faces()
    (score,) = (face["score"] for face in usual)
    assert faces(f"?score_threshold={score + 0.001}") == []
    assert faces(f"?score_threshold={score - 0.001}") == usual
    loose = faces("?score_threshold=0.02")
    assert [face for face in loose if face["score"] >= one_thread.card.score_threshold] == usual


@pytest.mark.parametrize("query", ["score_threshold=2", "score_threshold=x", "max_side=1", "max_side=999999"])
def test_impossible_wishes(http, astronaut, query):
    assert query.partition("=")[0] in problem(
        http.post(f"/v1/detect?{query}", content=b"x", headers=JPEG), 400
    )


def test_nothing_to_look_at(http):
    assert "no picture" in problem(http.post("/v1/detect", content=b"", headers=JPEG), 400)
    assert "no picture" in problem(http.post("/v1/detect", files={"photo": ("a.jpg", b"x")}), 400)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert problem(http.post("/v1/detect", content=b"--x\r\nnonsense", headers=broken), 400)
    assert problem(
        http.post("/v1/detect", content=b"--x", headers={"Content-Type": "multipart/form-data"}), 400
    )
    assert "text/plain" in problem(
        http.post("/v1/detect", content=b"hello", headers={"Content-Type": "text/plain"}), 415
    )
    assert problem(http.get("/v1/detect"), 405)
    assert problem(http.get("/v1/nothing"), 404)


def test_cut_off_pictures_are_named(http, astronaut):
    answer = http.post("/v1/detect", content=encoded(astronaut, "PNG")[:3000], headers=JPEG)
    assert "damaged or cut off" in problem(answer, 422)


def bomb(side):
    """A PNG that says it is `side` px large, in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_pixels_are_counted_before_decoding(http):
    assert "20000×20000" in problem(http.post("/v1/detect", content=bomb(20_000), headers=JPEG), 413)


@pytest.fixture(scope="module")
def strict(one_thread):
    """A server with small limits."""
    limits = Limits(picture_bytes=200_000, body_bytes=300_000, pictures=2, waiting_bytes=400_000, timeout_s=3)
    with serving(one_thread, one_thread, ServeOptions(port=0, limits=limits)) as running:
        yield running


def test_bytes_are_counted_while_they_come(strict, astronaut):
    with asked(strict) as http:
        assert "larger than" in problem(http.post("/v1/detect", content=bytes(500_000), headers=JPEG), 413)

        def endless():
            for _ in range(100):
                yield bytes(10_000)

        assert "larger than" in problem(http.post("/v1/detect", content=endless(), headers=JPEG), 413)
        heavy = encoded(np.random.default_rng(0).integers(0, 256, (280, 300, 3), np.uint8), "PNG")
        assert 200_000 < len(heavy) < 300_000
        assert "MiB are more than the limit" in problem(
            http.post("/v1/detect", content=heavy, headers=JPEG), 413
        )
        three = [("file", (f"{number}.jpg", jpeg(astronaut[::4, ::4]))) for number in range(3)]
        assert "Too many files" in problem(http.post("/v1/detect", files=three), 400)
        assert http.post("/v1/detect", content=jpeg(astronaut), headers=JPEG).status_code == 200


def test_a_caller_that_falls_silent_is_let_go(strict):
    parts = urlsplit(strict.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(head("image/jpeg", 1000) + b"\xff\xd8")
        answer = connection.recv(65536)
        while b"\r\n\r\n{" not in answer:
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 3 s" in answer


def test_too_late_is_said_and_not_kept_silent(held, astronaut):
    limits = Limits(timeout_s=0.5, workers=1)
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:
        try:
            answer = http.post("/v1/detect", content=jpeg(astronaut), headers=JPEG)
        finally:
            held.go.set()
        assert "not looked at within 0.5 s" in problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1


def test_beyond_the_queue_callers_are_told_when_to_come_back(held, astronaut):
    """Those in the house are answered; one more gets a 429 at once, whatever it sends."""
    data = jpeg(astronaut)
    limits = Limits(waiting=3, workers=1)
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:
        waiting, gauge = [], "maskwatch_requests_waiting 3.0"
        parts = urlsplit(running.url)
        try:
            for _ in range(3):
                waiting.append(socket.create_connection((parts.hostname, parts.port), timeout=60))
                waiting[-1].sendall(head("image/jpeg", len(data)) + data)
            wait_until(lambda: gauge in http.get("/metrics").text)
            refused = http.post("/v1/detect", content=data, headers=JPEG)
            assert "3 requests are waiting" in problem(refused, 429)
            assert int(refused.headers["retry-after"]) >= 1
            large = http.post("/v1/detect", content=bytes(5_000_000), headers=JPEG)
            assert problem(large, 429)
        finally:
            held.go.set()
        for connection in waiting:
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            connection.close()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["summary"]["faces"] == 1
        wait_until(lambda: "maskwatch_requests_waiting 0.0" in http.get("/metrics").text)
        assert http.post("/v1/detect", content=data, headers=JPEG).status_code == 200


def test_memory_for_bodies_is_shared_out(held, astronaut):
    """Requests hold what they sent until they are answered: beyond the sum, others wait outside."""
    heavy = encoded(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8), "PNG")
    limits = Limits(waiting_bytes=int(len(heavy) * 1.5), workers=1)
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:
        parts = urlsplit(running.url)
        try:
            with socket.create_connection((parts.hostname, parts.port), timeout=60) as first:
                first.sendall(head("image/png", len(heavy)) + heavy)
                wait_until(lambda: f"waiting_bytes {float(len(heavy))}" in http.get("/metrics").text)
                assert "fill the memory" in problem(http.post("/v1/detect", content=heavy, headers=JPEG), 429)
                assert http.post("/v1/detect", content=b"", headers=JPEG).status_code == 400
        finally:
            held.go.set()
        wait_until(lambda: "maskwatch_requests_waiting_bytes 0.0" in http.get("/metrics").text)


def test_faults_of_ours_are_problems_too(one_thread, astronaut):
    """No traceback reaches a caller, and the server lives on."""

    class Broken:
        card = one_thread.card

        def detect_letterboxed(self, prepared, *, score_threshold=None):
            raise RuntimeError("secret detail of the inside")

    with serving(Broken(), one_thread, ServeOptions(port=0)) as running, asked(running) as http:
        answer = http.post("/v1/detect", content=jpeg(astronaut), headers=JPEG)
        assert "secret" not in problem(answer, 500)
        assert http.get("/v2/health/ready").json() == {"ready": True}
