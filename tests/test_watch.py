"""Many cameras: the configuration and its mistakes, rounds, changes while running, sinks, the doctor."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy

from maskwatch import OptionError
from maskwatch.pipeline import Rounds
from maskwatch.pipeline.live import Newest
from maskwatch.sources.camera import Camera, CameraOptions, CameraState
from maskwatch.watch.config import CameraConfig, DetectorConfig, read_config
from maskwatch.watch.doctor import examine
from maskwatch.watch.host import CameraHost
from maskwatch.watch.reload import ConfigFile
from tests.clips import make_clip, numbered
from tests.commands import run, start
from tests.services.servers import Broker, Postgres, RtspCamera, free_port, wait_until
from tests.test_cli_video import scene
from tests.test_live import Bare, Script, paced

GOOD = """
spool = "{folder}/spool"

[detector]
max_side = 320

[defaults]
fps = 5
loop = true

[cameras.door]
source = "{clip}"
sinks = ["{folder}/door.jsonl"]

[cameras.door.rules]
without_mask_s = 0.5

[[cameras.door.rules.zones]]
name = "all"
corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]

[cameras.gate]
source = "{clip}"
fps = 2
sinks = ["{folder}/gate.jsonl"]
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut) -> Path:
    """Two seconds of a bare face."""
    frames = [scene(astronaut, step) for step in range(30)]
    return make_clip(tmp_path_factory.mktemp("watch") / "door.mp4", frames, rate=Fraction(15))


@pytest.fixture
def config(clip, tmp_path) -> Path:
    path = tmp_path / "cameras.toml"
    path.write_text(GOOD.format(folder=tmp_path, clip=clip))
    return path


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_defaults_and_the_environment_fill_in(config, monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    config.write_text(config.read_text() + '[cameras.net]\nsource = "rtsp://me:${PASSWORD}@10.0.0.5/x"\n')
    found = read_config(config).cameras
    assert [one.fps for one in found.values()] == [5, 2, 5]
    assert found["net"].source == "rtsp://me:hunter2@10.0.0.5/x"
    assert found["door"].watch_options(None).rules.zones[0].name == "all"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cameras is missing"),
        ("[cameras]", "cameras: dictionary should have at least 1 item"),
        ("[cameras.a]", "cameras.a.source is missing"),
        ('[cameras.a]\nsource = "0"\nfps = 0', "cameras.a.fps: input should be greater than 0"),
        (
            '[cameras.a]\nsource = "0"\nfsp = 5',
            "cameras.a.fsp is no key that is known here; known are source",
        ),
        ('[cameras.a]\nsource = "0"\n[cameras.a.rules]\nx = 1', "cameras.a.rules: rules: unknown rule x"),
        ('[cameras."a/b"]\nsource = "0"', "'a/b' is no name for a camera"),
        ('[cameras.a]\nsource = "rtsp://u:${NO_SUCH}@h/"', "the environment has no variable NO_SUCH"),
        ("[cameras.a]\nsource = 0", "cameras.a.source: input should be a valid string"),
        ("[detector]\nside = 3", "detector.side is no key that is known here; known are model"),
        ("cameras = 3", "cameras: input should be a valid dictionary"),
        ('[cameras.a]\nsource = "0"\naggregate_only = true\naggregate_every_s = -1', "aggregate_every_s"),
        ('[cameras.a]\nsource = "0"\nrotate = 45', "cameras.a.rotate: input should be 0, 90, 180 or 270"),
        ("[[", "no TOML file"),
    ],
)
def test_each_mistake_is_named_by_its_place(tmp_path, text, words):
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=re.escape(words)) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))


def test_a_mistake_does_not_show_secrets(tmp_path):
    path = tmp_path / "cameras.toml"
    path.write_text('[cameras.a]\nsource = ["rtsp://me:hunter2@h/"]\nsinks = "mqtt://me:hunter2@h"\n')
    with pytest.raises(OptionError) as caught:
        read_config(path)
    assert "hunter2" not in str(caught.value)
    assert "cameras.a.source" in str(caught.value)
    assert "cameras.a.sinks" in str(caught.value)
    done = run("watch", path)
    assert (done.returncode, "hunter2" in done.stderr) == (2, False)


class Batching(Bare):
    """Counts how many pictures share a call."""

    def __init__(self, delay_s=0.0):
        super().__init__(delay_s)
        self.batches = []

    def prepare(self, frame, /):
        return frame

    def detect_letterboxed(self, prepared, /):
        self.batches.append(len(prepared))
        return [self.detect(frame) for frame in prepared]


def test_cameras_share_batches_and_each_gets_its_share():
    detector = Batching(0.02)
    cameras = [Script(f"c{number}", ["live", *paced(150, 0.01, first=20), "ended"]) for number in range(5)]
    cameras.append(Script("flood", ["live", *paced(1500, 0.001, first=20), "ended"]))
    with Rounds(detector, lambda step: None, workers=2, at_once=2) as rounds:
        for camera in cameras:
            rounds.add(camera)
        statuses = rounds.statuses
        rounds.run(stop=threading.Event(), duration_s=1.5)
    assert set(detector.batches) <= {1, 2}
    assert detector.batches.count(2) > len(detector.batches) / 2
    looked = {status.name: status.looked for status in statuses}
    assert min(looked.values()) >= 3
    assert max(looked.values()) <= min(looked.values()) + 3, looked
    flood = statuses[-1]
    assert flood.dropped > flood.looked
    for status in statuses:
        assert 0 <= status.received - status.looked - status.dropped <= 1


def test_a_damaged_picture_costs_its_batch_nothing():
    detector = Batching()
    cameras = [
        Script("good", ["live", 20, 0.3, "ended"]),
        Script("damaged", ["live", 13, 0.3, "ended"]),  # Bare fails on 13
    ]
    with Rounds(detector, lambda step: None, at_once=4) as rounds:
        for camera in cameras:
            rounds.add(camera)
        statuses = rounds.statuses
        rounds.run(stop=threading.Event())
    assert [status.looked for status in statuses] == [1, 0]


def test_the_wanted_rate_is_kept_and_what_is_beyond_it_is_no_drop():
    shots = ["live"] + [20 + number for number in range(300)]

    class Ticking(Script):
        """300 pictures, 25 a second by their own clock, as fast as they can be made."""

        def __iter__(self):
            for index, item in enumerate(super().__iter__()):
                yield (
                    item
                    if isinstance(item, CameraState)
                    else type(item)(item.decoded, item.index, index / 25, item.source_id)
                )

    with Newest(Ticking("door", shots), threading.Event(), fps=5) as newest:
        wait_until(lambda: not newest._thread.is_alive())
    wanted = newest.received - newest.over_rate
    assert newest.received == 300
    assert wanted == pytest.approx(300 / 25 * 5, abs=1)
    assert newest.dropped == wanted - 1


def test_a_camera_can_be_removed_while_it_hangs():
    class Hanging(Script):
        def __iter__(self):
            yield CameraState("connecting", 0.0)
            released.wait(30)

    released = threading.Event()
    told = []
    with Rounds(Bare(), told.append) as rounds:
        rounds.add(Hanging("hangs", []))
        rounds.add(Script("works", ["live", *paced(1000)]))
        began = time.monotonic()
        rounds.remove("hangs")
        assert time.monotonic() - began < 2
        rounds.run(stop=threading.Event(), duration_s=0.5)
        assert rounds.statuses[0].looked > 0
        released.set()


def test_a_flood_is_thrown_away_before_it_is_decoded(tmp_path):
    frames = [numbered(number) for number in range(400)]
    path = make_clip(tmp_path / "flood.mp4", frames, rate=Fraction(400))
    camera = Camera(str(path), CameraOptions(most_fps=50.0))
    shots = [item for item in camera if not isinstance(item, CameraState)]
    assert len(shots) + camera.discarded == 400
    assert 50 <= len(shots) <= 150
    free = Camera(str(path), CameraOptions(most_fps=1000.0))
    assert sum(not isinstance(item, CameraState) for item in free) == 400
    assert free.discarded == 0


def test_the_file_is_followed(config):
    reload = threading.Event()
    file = ConfigFile(config, reload)
    assert file.changed() is None
    text = config.read_text()
    config.write_text(text.replace("fps = 2", "fps = 3"))
    fresh = []
    wait_until(lambda: fresh or fresh.append(file.changed()) or fresh[-1] or fresh.clear())
    assert fresh[0].cameras["gate"].fps == 3
    config.write_text(text.replace("fps = 2", "fps = -3"))
    reload.set()
    with pytest.raises(OptionError, match="greater than 0"):
        file.changed()
    assert file.current.cameras["gate"].fps == 3
    config.write_text(text.replace("max_side = 320", "max_side = 640"))
    reload.set()
    with pytest.raises(OptionError, match="only cameras can change"):
        file.changed()
    config.unlink()
    assert file.changed() is None


def test_cameras_come_change_and_go_while_watching(config, tmp_path):
    process = start("watch", config, "--quiet")
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr))
    reader.start()
    killer = threading.Timer(240, process.kill)
    killer.start()

    def kinds(name: str) -> list[str]:
        assert process.poll() is None, lines
        return [row["kind"] for row in rows(tmp_path / f"{name}.jsonl")]

    wait_until(lambda: "alert" in kinds("door") and "start" in kinds("gate"), 120)
    text = config.read_text()
    text = text.replace("[cameras.gate]", "[cameras.yard]").replace("gate.jsonl", "yard.jsonl")
    config.write_text(text)
    wait_until(lambda: "start" in kinds("yard"), 120)
    wait_until(lambda: "end" in kinds("gate"), 60)
    doors = kinds("door")
    config.write_text(text.replace("fps = 2", "fps = zwei"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("no TOML file" in line and "stay as they were" in line for line in lines), 60)
    config.write_text(text.replace("fps = 2", "fps = 4"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: sum("yard is watched" in line for line in lines) == 2, 60)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    killer.cancel()
    reader.join()
    assert process.returncode == 0, lines
    process.stderr.close()
    process.stdout.close()
    assert [row["kind"] for row in rows(tmp_path / "door.jsonl")][: len(doors)] == doors
    # the camera that was not touched was never interrupted: one visit, from first to last
    assert [row["kind"] for row in rows(tmp_path / "door.jsonl")].count("start") == 1


def test_events_reach_postgres_and_the_bus_and_a_dead_camera_harms_none(config, tmp_path):
    with Broker() as broker, Postgres() as database, RtspCamera() as rtsp:
        text = config.read_text() + f'[cameras.dead]\nsource = "rtsp://u:secret@127.0.0.1:{free_port()}/x"\n'
        text += f'[cameras.net]\nsource = "{rtsp.url}"\n'
        config.write_text(
            text.replace("loop = true", f'loop = true\nsinks = ["{database.url}", "{broker.url}"]')
        )
        config.write_text(re.sub(r'sinks = \["/.*\n', "", config.read_text()))
        found = {one.subject: one for one in examine(read_config(config), patience_s=5.0)}
        shown = " ".join(f"{one.subject} {one.words}" for one in found.values())
        assert "secret" not in shown
        assert [
            one.is_well for name, one in found.items() if name.startswith(("detector", "video", "picture"))
        ]
        assert found["camera door"].words.startswith("320×240")
        assert found["camera net"].words.startswith("192×108")
        assert not found["camera dead"].is_well
        assert "Connection refused" in found["camera dead"].words
        assert [one.words for name, one in found.items() if name.startswith("receiver")] == ["answers"] * 2
        done = run("watch", config, "--duration", 12)
        assert done.returncode == 0, done.stderr
        assert "secret" not in done.stderr
        assert "not one picture came from dead" in done.stderr
        engine = sqlalchemy.create_engine(database.url.replace("postgresql", "postgresql+pg8000"))
        with engine.connect() as connection:
            query = "select source_id, kind from maskwatch_events"
            stored = [tuple(row) for row in connection.execute(sqlalchemy.text(query))]
        engine.dispose()
        assert ("door", "start") in stored
        assert ("gate", "start") in stored
        assert ("dead", "lost") in stored
        assert re.search(r"mqtt://127.0.0.1:\d+/site: [1-9]\d* of \d+ events delivered", done.stderr)


def test_the_doctor_says_what_to_fix(config, tmp_path):
    port = free_port()
    text = config.read_text().replace(
        f'"{tmp_path}/gate.jsonl"',
        f'"postgresql://me:hunter2@127.0.0.1:{port}/x", "mqtt://me:hunter2@127.0.0.1:{port}", "gopher://me:hunter2@h"',
    )
    config.write_text(text.replace('source = "', 'source = "/nowhere', 1))
    done = run("doctor", config, "--patience", 0.5)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 4
    assert "FAIL camera door: /nowhere" in failed[0]
    assert "check that it runs, the address, the password and the firewall" in failed[1]
    assert "check that it runs" in failed[2]
    assert "no receiver; name a file" in failed[3]
    assert "4 checks failed" in done.stderr


def test_the_doctor_without_cameras_is_well():
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok  ") == 4
    assert "maskwatch-small" in done.stdout


def test_a_camera_that_opens_but_sends_nothing_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        path = tmp_path / "cameras.toml"
        path.write_text(f'[cameras.mute]\nsource = "http://127.0.0.1:{port}/x.mjpg"\n')
        (finding,) = [one for one in examine(read_config(path), patience_s=0.5) if "mute" in one.subject]
    assert not finding.is_well
    assert "no picture within 0.5 s" in finding.words


def test_nothing_to_watch_exits_with_1(tmp_path):
    path = tmp_path / "cameras.toml"
    path.write_text(f'spool = "{tmp_path}/spool"\n[cameras.gone]\nsource = "/nowhere.mp4"\n')
    done = run("watch", path)
    assert done.returncode == 1
    assert "gone is not watched: /nowhere.mp4: no camera number" in done.stderr


def test_a_host_watches_what_it_is_given_and_tells_what_came_of_it(clip, tmp_path):
    events = tmp_path / "events.jsonl"
    config = {"source": str(clip), "loop": True, "sinks": (str(events),)}
    host = CameraHost("host7", DetectorConfig(max_side=320), tmp_path / "spool", None)
    assert host.report().statuses == ()
    host.assign({"door": CameraConfig(**config), "gone": CameraConfig(source="/nowhere.mp4")})
    wait_until(lambda: any(row["kind"] == "start" for row in rows(events)), 120)
    report = host.report()
    assert set(report.cameras) == {"door", "gone"}
    assert [status.name for status in report.statuses] == ["door"]
    assert any("gone is not watched" in line for line in report.words)
    assert 0 < report.busy <= 1
    host.assign({"gate": CameraConfig(**config)})
    wait_until(lambda: {row["source_id"] for row in rows(events)} == {"door", "gate"}, 120)
    last = host.close()
    assert [(status.name, status.looked > 0) for status in last.statuses] == [("gate", True)]
    assert last.life == report.life
    assert "events delivered" in last.deliveries[0]
    kinds = [row["kind"] for row in rows(events)]
    assert kinds.count("start") == kinds.count("end") == 2
    assert list((tmp_path / "spool" / "host7").iterdir())
