"""The Python client against the server, and against servers that misbehave."""

from __future__ import annotations

import io
import json
import threading
from fractions import Fraction

import httpx
import numpy as np
import PIL.Image
import pytest

from maskwatch import Client, ClientOptions, Detections, Frame, ImageError, OptionError, ServiceError
from maskwatch.client import detections_of
from maskwatch.web.limits import Limits
from maskwatch.web.serving import ServeOptions, serving
from tests.clips import make_clip
from tests.conftest import jpeg
from tests.services.servers import free_port, wait_until
from tests.test_cli_video import scene
from tests.web.conftest import asked


@pytest.fixture
def client(server):
    with Client(server.url) as opened:
        yield opened


def test_the_same_as_detecting_here(client, one_thread, masked, tmp_path):
    path = tmp_path / "masked.jpg"
    path.write_bytes(jpeg(masked))
    here = one_thread.detect(path)
    for source in (path, str(path), path.read_bytes()):
        there = client.detect(source)
        assert isinstance(there, Detections)
        assert there.to_dicts() == here.to_dicts()
    exact = one_thread.detect(masked).to_dicts()
    for source in (masked, Frame(masked), PIL.Image.fromarray(masked)):
        assert client.detect(source).to_dicts() == exact


def test_what_was_written_is_read_back(one_thread, astronaut):
    faces = one_thread.detect(astronaut)
    assert detections_of(faces.to_dicts()).to_dicts() == faces.to_dicts()
    assert detections_of([]) == Detections.empty()
    tracked = Detections(np.array([[1, 2, 3, 4]]), np.array([0.5]), np.array([1]), track_id=np.array([7]))
    assert detections_of(tracked.to_dicts()) == tracked


def test_several_at_once(client, astronaut, masked, tmp_path):
    (tmp_path / "junk.jpg").write_bytes(b"junk")
    found, summary = client.detect_all([jpeg(astronaut), tmp_path / "junk.jpg", masked])
    assert [one.verdict_names if isinstance(one, Detections) else type(one) for one in found] == [
        ["without_mask"],
        ImageError,
        ["with_mask"],
    ]
    assert "junk.jpg" in str(found[1])
    assert (summary.images, summary.failed, summary.compliance) == (3, 1, 0.5)


def test_the_drawn_picture(client, masked):
    drawn = PIL.Image.open(io.BytesIO(client.annotate(masked, blur=True)))
    assert drawn.size == (512, 512)
    assert np.abs(np.array(drawn).astype(int) - masked).max() > 60


def test_the_card_and_health(client, one_thread):
    card = client.model()
    assert card["sha256"] == one_thread.card.sha256
    assert tuple(card["labels"]) == one_thread.card.labels
    assert client.is_ready()


def test_a_video(client, astronaut, tmp_path):
    clip = make_clip(tmp_path / "a.mp4", [scene(astronaut, step) for step in range(8)], rate=Fraction(8))
    job = client.submit_video(clip, every=2)
    assert client.wait_for_video(job.job_id, timeout_s=120, every_s=0.05).state == "done"
    assert client.video_result(job.job_id)["summary"]["people"] == 1
    assert client.video_copy(job.job_id)[4:8] == b"ftyp"
    client.delete_video(job.job_id)
    with pytest.raises(ServiceError, match="no such video") as caught:
        client.video(job.job_id)
    assert caught.value.status == 404


def test_errors_are_ours(client, tmp_path, astronaut):
    with pytest.raises(ImageError, match="format that is read here"):
        client.detect(b"junk")
    with pytest.raises(ImageError, match="cannot be read"):
        client.detect(tmp_path / "nothing.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        client.submit_video(tmp_path / "nothing.mp4")
    with pytest.raises(ServiceError, match="score_threshold") as caught:
        client.detect(astronaut, score_threshold=7)
    assert caught.value.status == 400
    with pytest.raises(OptionError, match="timeout_s"):
        ClientOptions(timeout_s=0)


def test_nobody_answers():
    port = free_port()
    with Client(f"http://127.0.0.1:{port}") as client:
        assert not client.is_ready()
        with pytest.raises(ServiceError, match=f"127.0.0.1:{port}: no answer") as caught:
            client.model()
    assert caught.value.status is None


def test_the_key_from_options_and_environment(one_thread, astronaut, monkeypatch):
    key = "0123456789abcdef"
    monkeypatch.delenv("MASKWATCH_API_KEY", raising=False)
    with serving(one_thread, one_thread, ServeOptions(port=0, api_key=key)) as running:
        with Client(running.url) as client, pytest.raises(ServiceError, match="API key"):
            client.detect(astronaut)
        options = ClientOptions(api_key=key)
        assert key not in repr(options)
        with Client(running.url, options) as client:
            assert len(client.detect(astronaut)) == 1
        monkeypatch.setenv("MASKWATCH_API_KEY", key)
        with Client(running.url) as client:
            assert len(client.detect(astronaut)) == 1


def test_a_busy_server_is_asked_again(held, astronaut):
    """Two clients, room for one: the second waits as long as it was told, and is answered."""
    limits = Limits(waiting=1, workers=1)
    answers = []
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:

        def ask():
            with Client(running.url) as client:
                answers.append(len(client.detect(astronaut)))

        callers = [threading.Thread(target=ask) for _ in range(2)]
        try:
            for caller in callers:
                caller.start()
            wait_until(lambda: 'status="429"' in http.get("/metrics").text)
        finally:
            held.go.set()
        for caller in callers:
            caller.join(60)
    assert answers == [1, 1]


def scripted(*answers):
    """A network that plays answers, and what it was asked."""
    asked_for, left = [], list(answers)

    def answer(request):
        request.read()
        asked_for.append(request)
        return left.pop(0)

    return httpx.MockTransport(answer), asked_for


BUSY = {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "full"}


def busy(retry_after):
    headers = {"Retry-After": retry_after, "Content-Type": "application/problem+json"}
    return httpx.Response(429, headers=headers, content=json.dumps(BUSY))


def test_a_video_is_sent_again_from_its_start(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"0123456789" * 100)
    status = {"id": "x", "state": "waiting", "detail": "", "frames": 0, "progress": None}
    transport, asked_for = scripted(busy("0"), httpx.Response(202, json=status))
    with Client(transport=transport) as client:
        assert client.submit_video(tmp_path / "a.mp4").job_id == "x"
    assert [request.content.count(b"0123456789") for request in asked_for] == [100, 100]


def test_patience_has_an_end():
    transport, asked_for = scripted(busy("0"), busy("0"), busy("1000"))
    client = Client(options=ClientOptions(patience_s=5), transport=transport)
    with client, pytest.raises(ServiceError, match="full") as caught:
        client.model()
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1000)
    assert len(asked_for) == 3


def test_what_stands_between_is_told():
    transport, _ = scripted(httpx.Response(502, text="<h1>Bad Gateway</h1>"))
    with Client(transport=transport) as client, pytest.raises(ServiceError, match="502") as caught:
        client.model()
    assert caught.value.status == 502
