"""A default run keeps no picture: everything it writes, says and sends is searched for image bytes."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from maskwatch.addresses import origin_of, printable, redact, scheme_of
from maskwatch.codec import encode_image, read_picture
from maskwatch.frames import Image
from maskwatch.sources.video import VideoFile
from tests.batches import faces, images, make_pictures
from tests.clips import make_clip
from tests.commands import COMMAND, ENVIRONMENT
from tests.services.servers import wait_until
from tests.test_cli_video import scene

SIGNATURES = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n",
    "WebP": b"WEBPVP8",
    "GIF": b"GIF8",
    "MP4": b"ftyp",
    "Matroska": b"\x1a\x45\xdf\xa3",
    "BMP": b"BM6",
    "JPEG in base64": b"/9j/",
    "PNG in base64": b"iVBORw0KGgo",
    "WebP in base64": b"UklGR",
    "GIF in base64": b"R0lGOD",
    "NumPy": b"\x93NUMPY",
}
"""The first bytes of pictures and videos, bare and as text."""


def raw_signatures(clip: Path) -> dict[str, bytes]:
    """Those of a video's frames."""
    with VideoFile(clip) as video:
        return raw_runs({f"frame {frame.index}": frame.image for frame in video})


def raw_runs(pictures: Mapping[str, Image]) -> dict[str, bytes]:
    """Runs of pixels out of the middle of pictures, as they lie in memory, and in base64."""
    found = {}
    for name, image in pictures.items():
        row = image[image.shape[0] // 2]
        middle = np.ascontiguousarray(row[90:120])
        if len(np.unique(middle)) < 12:
            continue
        found[f"RGB of {name}"] = middle.tobytes()
        found[f"BGR of {name}"] = np.ascontiguousarray(middle[:, ::-1]).tobytes()
        found[f"grey of {name}"] = middle.mean(axis=1).astype(np.uint8).tobytes()
    return found | {f"{name} in base64": base64.b64encode(run)[4:-8] for name, run in found.items()}


def pictures_in(content: bytes, raw: dict[str, bytes]) -> list[str]:
    """What pictures there are in some bytes."""
    found = [name for name, start in SIGNATURES.items() if start in content]
    return found + [name for name, run in raw.items() if run in content]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut) -> Path:
    frames = [scene(astronaut, step) for step in range(30)]
    return make_clip(tmp_path_factory.mktemp("clip") / "door.mp4", frames, rate=Fraction(15))


def test_the_search_finds_what_it_looks_for(clip):
    """Else the tests below could not fail."""
    raw = raw_signatures(clip)
    assert len(raw) > 20
    with VideoFile(clip) as video:
        frame = next(iter(video)).image
    assert pictures_in(b"x" + frame.tobytes() + b"y", raw)
    assert pictures_in(clip.read_bytes(), {})
    for suffix in (".jpg", ".png", ".webp"):
        coded = encode_image(frame, suffix)
        assert pictures_in(b"abc" + coded, {})
        assert pictures_in(base64.b64encode(coded), {})


def test_a_default_run_of_live_stores_and_sends_no_picture(clip, tmp_path, hook):
    """Page, status, alerts, files, tables, a webhook and the spool; and all that lies in its folders."""
    environment, (home, work, scratch) = places(tmp_path)
    sinks = ["events.jsonl", "events.csv", "events.db", f"http://127.0.0.1:{hook.server_port}/200"]
    arguments = ["live", str(clip), "--loop", "--port", "0", *(p for s in sinks for p in ("--sink", s))]
    process, killer = begun(arguments, work, environment)
    said = process.stdout.readline()  # the page's address
    events = work / "events.jsonl"
    wait_until(lambda: events.exists() and b'"start"' in events.read_bytes() and hook.got, 90)
    raw = raw_signatures(clip)
    alive = contents(tmp_path)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    killer.cancel()
    assert process.returncode == 0
    left = contents(tmp_path)
    names = {path.name for path in left}
    assert {"events.jsonl", "events.csv", "events.db"} <= names
    assert any(home in path.parents for path in alive), "the spool lies in the user's folder"
    assert not list(scratch.iterdir())
    for content in (*alive.values(), *left.values(), *(body for _, body in hook.got), said + rest):
        assert pictures_in(content, raw) == []


def places(tmp_path: Path) -> tuple[dict[str, str], list[Path]]:
    """Folders for a user's home, work and temporary files; the environment with them."""
    home, _, scratch = folders = [tmp_path / name for name in ("home", "work", "scratch")]
    for folder in folders:
        folder.mkdir()
    kept = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }
    return {**ENVIRONMENT, **kept, "TMPDIR": str(scratch), "RAY_TMPDIR": str(scratch)}, folders


def begun(
    arguments: list[str], folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], threading.Timer]:
    """A command at work in a folder, and what kills it after two minutes."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    killer = threading.Timer(120, process.kill)
    killer.start()
    return process, killer


def contents(tmp_path: Path) -> dict[Path, bytes]:
    """All files below a folder, also those that go away meanwhile."""
    found = {}
    for path in tmp_path.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found


@pytest.mark.parametrize("where", [["--local"], []], ids=["local", "Ray"])
def test_a_default_run_of_batch_keeps_no_picture(where, astronaut, masked, clip, tmp_path):
    """Tables, manifest, logs, and what Ray leaves behind; the rows too, as Parquet is compressed."""
    if not where:
        pytest.importorskip("ray")
    pictures = make_pictures(tmp_path / "pictures", astronaut, masked, 6)
    raw = raw_runs(
        {
            path.name: read_picture(path.read_bytes()).image
            for path in pictures.rglob("*_[0-9].*")
            if "broken" not in path.name
        }
    )
    environment, folders = places(tmp_path)
    scratch = tempfile.TemporaryDirectory(prefix="mw-", dir="/tmp")  # Ray makes sockets there: a short path
    folders[2] = Path(scratch.name)
    environment |= {"TMPDIR": scratch.name, "RAY_TMPDIR": scratch.name}
    done = subprocess.run(
        [*COMMAND, "batch", str(pictures), "--output", "out", "--workers", "1", *where],
        cwd=folders[1],
        env=environment,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert len(images(folders[1] / "out")) == 8
    assert any(row["error"] for row in images(folders[1] / "out"))
    rows = repr((images(folders[1] / "out"), faces(folders[1] / "out"))).encode()
    left = {path: content for folder in folders for path, content in contents(folder).items()}
    assert where or any("session" in str(path) for path in left), "Ray's logs are among them"
    scratch.cleanup()
    for content in (*left.values(), rows, done.stdout, done.stderr):
        assert pictures_in(content, raw) == []


def test_a_default_run_of_serve_keeps_no_picture(clip, astronaut, tmp_path):
    """Pictures that are sent, good and bad, and a camera; answers, logs, database, temporary files."""
    import httpx

    environment, (_, work, scratch) = places(tmp_path)
    process, killer = begun(["serve", "--port", "0", "--source", str(clip), "--loop"], work, environment)
    said = process.stdout.readline()
    portrait = encode_image(astronaut, ".jpg")
    with httpx.Client(base_url=said.split()[-1].decode(), timeout=60, trust_env=False) as client:
        picture, form = {"Content-Type": "image/jpeg"}, {"file": ("p.jpg", portrait)}
        answers = [client.post("/v1/detect", content=portrait, headers=picture)]
        answers += [client.post("/v1/detect", content=portrait[:900], headers=picture)]
        answers += [client.post("/v1/detect", files=form)]
        assert [answer.status_code for answer in answers] == [200, 422, 200]
        wait_until(lambda: client.get("/v1/events").json()["total"] > 0, 60)
        answers += [client.get(path) for path in ("/v1/cameras", "/v1/events", "/v1/events.csv", "/metrics")]
        alive = contents(tmp_path)
        assert any(scratch in path.parents for path in alive), "the database of events lies there"
        place = client.post("/v1/videos", content=clip.read_bytes(), headers={"Content-Type": "video/mp4"})
        job = place.headers["Location"]
        wait_until(lambda: client.get(job).json()["state"] == "done", 60)
        answers += [client.get(f"{job}/result")]
        assert client.delete(job).status_code == 204
        deleted = contents(tmp_path)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    killer.cancel()
    assert process.returncode == 0
    assert not list(scratch.iterdir())
    raw = raw_signatures(clip) | raw_runs({"portrait": astronaut})
    left = contents(tmp_path)
    for content in (*alive.values(), *deleted.values(), *left.values(), said + rest):
        assert pictures_in(content, raw) == []
    for answer in answers:
        assert pictures_in(answer.content, raw) == []


def test_tables_of_pictures_and_videos_hold_none(clip, tmp_path):
    done = subprocess.run(
        [*COMMAND, "video", str(clip), "--no-video", "--json", "lines.jsonl", "--events", "events.csv"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    raw = raw_signatures(clip)
    assert {path.name for path in tmp_path.iterdir()} == {"lines.jsonl", "events.csv"}
    for content in (*(path.read_bytes() for path in tmp_path.iterdir()), done.stdout, done.stderr):
        assert pictures_in(content, raw) == []


def test_nothing_is_reported_to_the_maker_of_a_library(tmp_path):
    """onnxruntime sends telemetry since 1.29, unless it is told not to before it is imported."""
    code = (
        "import maskwatch, onnxruntime, numpy;"
        "maskwatch.Detector().detect(numpy.zeros((64, 64, 3), numpy.uint8))"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")
    }
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([*COMMAND[:2], code], env={**environment, **places}, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []


def test_copies_are_written_where_they_were_asked_for_and_nowhere_else(tmp_path):
    picture = Path("examples/people.jpg").resolve()
    done = subprocess.run(
        [*COMMAND, "image", str(picture), "--json", "-"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ["maskwatch-out/people.jpg"]
    assert pictures_in(done.stdout + done.stderr, {}) == []


SECRETS = [
    "rtsp://admin:s3cr/et@10.0.0.9/x",
    "rtsp://admin:s3cr?et@10.0.0.9/x",
    "rtsp://admin:s3cr#et@10.0.0.9/x",
    "rtsp://admin:s3cr@et@10.0.0.9/x",
    "rtsp://10.0.0.9/user=admin&password=s3cr_et&channel=1&stream=0.sdp",
    "rtsp://10.0.0.9/live?p=s3cr&et",
    "http://10.0.0.9/cgi?loginuse=admin&loginpas=s3cr&et",
    "admin:s3cr-et@10.0.0.9/x",
    "rtsp:admin:s3cr-et@10.0.0.9",
    "rtsp://[admin:s3cr-et@::1",
    "http://cam/x?channel=s3cr:et",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_no_form_of_a_password_is_shown(uri):
    shown = redact(uri)
    assert "s3cr" not in shown
    assert "et@" not in shown


@pytest.mark.parametrize("uri", SECRETS)
def test_no_form_of_a_password_is_said_by_the_command(uri, tmp_path):
    """As a camera, and as a receiver: errors, tables, names of files."""
    from maskwatch import MaskwatchError
    from maskwatch.cli.live import live
    from maskwatch.sinks.receivers import open_receiver
    from maskwatch.sources.camera import Camera

    assert live.__doc__
    for open_one in (Camera, open_receiver):
        if open_one is open_receiver and scheme_of(uri) in ("", "http"):
            continue
        words = ""
        try:
            words = getattr(open_one(uri), "name", "")
        except MaskwatchError as error:
            words = str(error)
        assert "s3cr" not in words


def test_a_webhooks_path_is_a_secret():
    from maskwatch.sinks.webhook import Webhook

    url = "https://hooks.example.com/services/T000/B000/s3cret?x=s3cret"
    hook = Webhook(url)
    hook.close()
    assert hook.name == origin_of(url) == "https://hooks.example.com/…"


def test_apprise_does_not_log_addresses(capfd):
    from maskwatch import OptionError
    from maskwatch.sinks.notify import Notifier

    pytest.importorskip("apprise")
    with pytest.raises(OptionError):
        Notifier("nosuchservice://user:s3cret@host/s3cret")
    out, err = capfd.readouterr()
    assert "s3cret" not in out + err


def test_names_cannot_steer_a_terminal():
    text = "a\x1b[2J\r\nb\u202ec\x9b" + os.fsdecode(b"\xff")
    assert printable(text) == "a\\x1b[2J\\r\\nb\\u202ec\\x9b\\udcff"
    assert printable("gäste – 日本 ✓") == "gäste – 日本 ✓"
    assert not re.search(r"[\x00-\x1f]", printable(text))


def test_paths_are_no_formulas_in_a_spreadsheet(tmp_path):
    from maskwatch import Detections
    from maskwatch.sinks.tables import CsvFile

    with CsvFile(str(tmp_path / "faces.csv")) as table:
        for name in ("=HYPERLINK(1).jpg", "-x.jpg", "plain.jpg"):
            table.write(Path(name), Detections.empty(), OSError("gone"))
    assert (tmp_path / "faces.csv").read_text().splitlines()[1:] == [
        "./=HYPERLINK(1).jpg,,,,,,,,,,,,gone",
        "./-x.jpg,,,,,,,,,,,,gone",
        "plain.jpg,,,,,,,,,,,,gone",
    ]
