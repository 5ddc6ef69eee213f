"""`maskwatch serve` as people run it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import urllib.request
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskwatch import Client, ClientOptions, OptionError
from maskwatch.cli.app import app
from tests import commands
from tests.clips import make_clip
from tests.commands import start
from tests.conftest import jpeg
from tests.services.servers import wait_until
from tests.test_classifier import make as make_classifier
from tests.test_cli_video import scene


@contextlib.contextmanager
def serving(*arguments: object):
    """The address of a running `maskwatch serve`, which is ended by SIGTERM and must end well."""
    process = start("serve", "--port", 0, *arguments)
    killer = threading.Timer(180, process.kill)
    killer.start()
    lines: list[str] = []
    try:
        while not (found := re.search(r"The page: (http://\S+)/", "".join(lines))):
            line = process.stderr.readline()
            assert line, "".join(lines)
            lines.append(line)
        yield found.group(1)
        process.send_signal(signal.SIGTERM)
    except BaseException:
        process.kill()
        raise
    finally:
        _, rest = process.communicate(timeout=60)
        killer.cancel()
    assert process.returncode == 0, "".join(lines) + rest
    assert "Traceback" not in rest


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def camera(tmp_path_factory, astronaut) -> Path:
    frames = [scene(astronaut, step) for step in range(30)]
    return make_clip(tmp_path_factory.mktemp("serve") / "door.mp4", frames, rate=Fraction(15))


def test_pictures_and_cameras_and_their_events(camera, tmp_path, astronaut):
    (tmp_path / "rules.toml").write_text("without_mask_s = 0.3\n")
    store = tmp_path / "events.db"
    options = ("--source", camera, "--loop", "--rules", tmp_path / "rules.toml", "--aggregate-every", 0.5)
    with serving(*options, "--events", store) as url:
        with Client(url) as client:
            assert client.detect(jpeg(astronaut)).verdict_names == ["without_mask"]
        wait_until(lambda: json.loads(get(f"{url}/v1/events?kind=alert"))["total"], timeout_s=90)
        state = json.loads(get(f"{url}/v1/cameras"))
        assert state["cameras"][0]["name"] == str(camera)
        assert get(f"{url}/v1/cameras/0/picture").startswith(b"\xff\xd8")
        wait_until(lambda: json.loads(get(f"{url}/v1/compliance?hours=1"))["cameras"], timeout_s=60)
    with sqlite3.connect(store) as database:
        kinds = [kind for (kind,) in database.execute("select kind from maskwatch_events")]
    database.close()
    assert "alert" in kinds
    assert kinds.count("start") == kinds.count("end"), "the end is orderly: visits are finished"


def test_a_classifier_of_ones_own_judges_pictures_and_videos(camera, tmp_path, astronaut):
    wrong = ("mask_worn_incorrectly", "mask_worn_incorrectly")
    with serving("--classifier", make_classifier(tmp_path / "wrong.onnx", labels=wrong)) as url:
        assert json.loads(get(f"{url}/v1/model"))["classifier"] == "light"
        with Client(url) as client:
            assert client.detect(jpeg(astronaut)).verdict_names == ["mask_worn_incorrectly"]
            job = client.wait_for_video(client.submit_video(camera).job_id)
            summary = client.video_result(job.job_id)["summary"]
    assert summary["mask_worn_incorrectly"] == summary["people"] == 1


def test_aggregates_alone(camera):
    with serving("--source", camera, "--loop", "--aggregate-only", "--aggregate-every", 0.5) as url:
        wait_until(lambda: json.loads(get(f"{url}/v1/compliance?hours=1"))["cameras"], timeout_s=90)
        assert json.loads(get(f"{url}/v1/events"))["total"] == 0
        state = json.loads(get(f"{url}/v1/cameras"))
        assert state["pictures"] is False
        assert "faces" not in state["cameras"][0]


def test_the_key_from_a_file(tmp_path, astronaut):
    (tmp_path / "key").write_text("# of the shop\n0123456789abcdef\n")
    with serving("--api-key-file", tmp_path / "key") as url:
        with Client(url, ClientOptions(api_key="0123456789abcdef")) as client:
            assert len(client.detect(jpeg(astronaut))) == 1
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"{url}/v1/model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--source", "0", "--live", "http://127.0.0.1:8350"), "leave one out"),
        (("--live", "127.0.0.1:8350"), "http://HOST:8350"),
        (("--events", "events.txt"), "no database"),
        (("--source", "/no/such/file.mp4"), "no camera number"),
        (("--cors-origin", "*"), "no origin"),
        (("--api-key-file", "/no/such/key"), "cannot be read"),
        (("--max-waiting", "0"), "waiting must be above 0"),
    ],
)
def test_impossible_wishes_are_named(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["serve", "--port", "0", *arguments])
    assert isinstance(done.exception, OptionError), done.output
    assert words in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_says_what_to_install(tmp_path):
    """A folder before the others, whose fastapi cannot be imported, takes the place of a missing one."""
    (tmp_path / "fastapi.py").write_text(
        "raise ModuleNotFoundError('No module named fastapi', name='fastapi')\n"
    )
    done = subprocess.run(
        [*commands.COMMAND, "serve"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "maskwatch: serving needs fastapi: pip install 'maskwatch[web]'"


def test_the_command_line_stays_light():
    heavy = ("fastapi", "uvicorn", "starlette", "httpx", "sqlalchemy", "av", "cv2", "torch", "keras")
    code = f"import sys, maskwatch.cli.app; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([commands.COMMAND[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
