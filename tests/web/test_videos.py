"""Videos as jobs: handed in, asked after, fetched, cancelled, and forgotten."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import pytest

from maskwatch.pipeline import ClipOptions, process_clip
from maskwatch.web import schemas
from maskwatch.web.limits import Limits
from maskwatch.web.serving import ServeOptions, serving
from tests.clips import make_clip
from tests.services.servers import wait_until
from tests.test_cli_video import scene
from tests.web.conftest import asked
from tests.web.test_detect import problem

MP4 = {"Content-Type": "video/mp4"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut, masked) -> Path:
    frames = [scene(astronaut if step < 15 else masked, step) for step in range(30)]
    return make_clip(tmp_path_factory.mktemp("clips") / "walk.mp4", frames, rate=Fraction(15))


def until_over(http, job):
    def state():
        return http.get(f"/v1/videos/{job['id']}").json()["state"] in ("done", "failed", "cancelled")

    wait_until(state, timeout_s=120)
    return http.get(f"/v1/videos/{job['id']}").json()


def test_a_video_from_start_to_end(http, clip, one_thread, tmp_path):
    answer = http.post("/v1/videos", content=clip.read_bytes(), headers=MP4)
    assert answer.status_code == 202
    job = answer.json()
    schemas.Job.model_validate(job)
    assert answer.headers["location"] == f"/v1/videos/{job['id']}"
    job = until_over(http, job)
    assert (job["state"], job["progress"], job["frames"]) == ("done", 1.0, 30)
    result = http.get(f"/v1/videos/{job['id']}/result").json()
    schemas.VideoResult.model_validate(result)
    here = process_clip(clip, None, one_thread, ClipOptions())
    assert result["summary"]["people"] == sum(here.people.values())
    assert result["summary"]["frames"] == here.frames
    assert result["events"][0]["kind"] == "start"
    assert str(clip.parent) not in str(result)
    copy = http.get(f"/v1/videos/{job['id']}/copy")
    assert copy.headers["content-type"] == "video/mp4"
    (tmp_path / "copy.mp4").write_bytes(copy.content)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
    assert job["id"] in [one["id"] for one in http.get("/v1/videos").json()["videos"]]
    assert http.delete(f"/v1/videos/{job['id']}").status_code == 204
    assert problem(http.get(f"/v1/videos/{job['id']}"), 404)


def test_as_a_form_and_without_a_copy(http, clip):
    files = {"file": ("C:\\films\\walk.mp4", clip.read_bytes(), "video/mp4")}
    job = until_over(http, http.post("/v1/videos?copy=false&every=5", files=files).json())
    assert (job["name"], job["state"], job["has_copy"]) == ("walk.mp4", "done", False)
    assert "no copy" in problem(http.get(f"/v1/videos/{job['id']}/copy"), 409)
    http.delete(f"/v1/videos/{job['id']}")


PLAYLISTS = {
    "a playlist of other addresses": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/secret\n" + bytes(64),
    "a list of other files": b"ffconcat version 1.0\nfile '/etc/passwd'\n" + bytes(64),
    "a session description": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n",
    "a picture": b"\xff\xd8\xff\xe0" + bytes(64),
    "almost nothing": b"abc",
}


@pytest.mark.parametrize("what", PLAYLISTS)
def test_what_is_no_video_never_reaches_the_decoder(http, what):
    assert "no video of a kind" in problem(http.post("/v1/videos", content=PLAYLISTS[what], headers=MP4), 415)
    form = http.post("/v1/videos", files={"file": ("video.mp4", PLAYLISTS[what])})
    assert "no video of a kind" in problem(form, 415)
    assert http.get("/v1/videos").json() == {"videos": []}


def test_other_bodies(http):
    assert "text/html" in problem(
        http.post("/v1/videos", content=b"x", headers={"Content-Type": "text/html"}), 415
    )
    assert "'file'" in problem(http.post("/v1/videos", files={"film": ("a.mp4", b"x")}), 400)
    assert problem(http.post("/v1/videos?every=0", content=b"x", headers=MP4), 400)


def test_a_damaged_video_fails_with_a_reason_and_without_paths(http, clip):
    data = clip.read_bytes()
    job = until_over(http, http.post("/v1/videos", content=data[:40] + bytes(2000), headers=MP4).json())
    assert job["state"] == "failed"
    assert job["detail"]
    assert "/tmp" not in job["detail"]
    assert job["detail"] in problem(http.get(f"/v1/videos/{job['id']}/result"), 409)
    http.delete(f"/v1/videos/{job['id']}")


def test_limits_of_size_and_number(held, clip):
    data = clip.read_bytes()
    limits = Limits(videos=2, video_bytes=len(data), pixels=100_000)
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:
        assert "larger than" in problem(http.post("/v1/videos", content=data + b"x", headers=MP4), 413)

        def chunks():
            yield data
            yield b"x"

        assert "larger than" in problem(http.post("/v1/videos", content=chunks(), headers=MP4), 413)
        try:
            running_job = http.post("/v1/videos", content=data, headers=MP4).json()
            waiting = http.post("/v1/videos", content=data, headers=MP4).json()
            refused = http.post("/v1/videos", content=data, headers=MP4)
            assert "2 videos are here already" in problem(refused, 429)
            assert int(refused.headers["retry-after"]) >= 1
            assert "waiting" in problem(http.get(f"/v1/videos/{waiting['id']}/result"), 409)
            for job in (waiting, running_job):
                assert http.delete(f"/v1/videos/{job['id']}").status_code == 204
            assert http.get("/v1/videos").json() == {"videos": []}
        finally:
            held.go.set()
        again = until_over(http, http.post("/v1/videos", content=data, headers=MP4).json())
        assert again["state"] == "done"


def test_too_many_pixels(held, clip):
    held.go.set()
    options = ServeOptions(port=0, limits=Limits(pixels=50_000))
    with serving(held, held, options) as running, asked(running) as http:
        job = until_over(http, http.post("/v1/videos", content=clip.read_bytes(), headers=MP4).json())
    assert (job["state"], job["detail"][:14]) == ("failed", "320×240 pixels")


def folders():
    return set(Path(tempfile.gettempdir()).glob("maskwatch-videos-*"))


def test_cancelling_leaves_no_files_and_old_ones_are_deleted(held, clip):
    before = folders()
    limits = Limits(keep_s=0.2)
    with serving(held, held, ServeOptions(port=0, limits=limits)) as running, asked(running) as http:
        (folder,) = folders() - before
        job = http.post("/v1/videos", content=clip.read_bytes(), headers=MP4).json()
        wait_until(lambda: http.get(f"/v1/videos/{job['id']}").json()["state"] == "running")
        http.delete(f"/v1/videos/{job['id']}")
        held.go.set()
        wait_until(lambda: not list(folder.iterdir()))
        job = http.post("/v1/videos", content=clip.read_bytes(), headers=MP4).json()
        wait_until(lambda: http.get(f"/v1/videos/{job['id']}").status_code == 404, timeout_s=60)
        assert not list(folder.iterdir())
    assert not folder.exists()


def test_one_that_takes_too_long_is_given_up(held, clip):
    held.go.set()
    options = ServeOptions(port=0, limits=Limits(video_s=0.001))
    with serving(held, held, options) as running, asked(running) as http:
        job = until_over(http, http.post("/v1/videos", content=clip.read_bytes(), headers=MP4).json())
    assert job["state"] == "failed"
    assert "longer than" in job["detail"]
