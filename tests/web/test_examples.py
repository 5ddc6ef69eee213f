"""The examples beside the package, and the dashboards in deploy/, against what the server really says."""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from maskwatch.pipeline import WatchOptions
from maskwatch.sinks.mqtt import COUNTS
from maskwatch.web.board import Board
from maskwatch.web.server import WebServer
from maskwatch.web.serving import ServeOptions, serving, watching
from maskwatch.web.streams import BoardFeed
from tests.conftest import jpeg
from tests.services.servers import wait_until
from tests.test_live import Bare, Script, paced
from tests.web.conftest import JPEG, asked

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONFIG = """<View><Image name="photo" value="$picture"/>
<RectangleLabels name="masks" toName="photo"><Label value="Mask"/><Label value="No mask"/></RectangleLabels>
</View>"""


def example(name):
    """An example as a module, without its last lines."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks types up there
    spec.loader.exec_module(module)
    return module


def test_the_gradio_app_looks_at_pictures(masked):
    look = example("gradio_app").look
    drawn, rows, words = look(masked)
    assert drawn.shape == masked.shape
    assert np.abs(drawn.astype(int) - masked).max() > 60
    assert [row[1] for row in rows] == ["with_mask"]
    assert "compliance 100.0%" in words
    assert look(None) == (None, [], "")


@pytest.fixture
def label_studio(astronaut, masked):
    """A host that gives pictures to who shows the token, and notes what it was asked."""
    pictures = {"/data/upload/1/bare.jpg": jpeg(astronaut), "/data/upload/1/masked.jpg": jpeg(masked)}
    asked_for = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked_for.append(self.path)
            known = self.headers.get("Authorization") == "Token secret" and self.path in pictures
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(pictures[self.path] if known else b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked_for
    server.shutdown()
    server.server_close()
    thread.join()


def test_label_studio_gets_rectangles(label_studio, monkeypatch, one_thread, masked):
    host, asked_for = label_studio
    monkeypatch.setenv("LABEL_STUDIO_URL", host)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    tasks = [
        {"id": 1, "data": {"picture": "/data/upload/1/bare.jpg"}},
        {"id": 2, "data": {"picture": f"{host}/data/upload/1/masked.jpg"}},
        {"id": 3, "data": {"picture": "http://169.254.169.254/latest/meta-data"}},
        {"id": 4, "data": {"picture": "/data/upload/1/nothing.jpg"}},
        {"id": 5, "data": {"text": "no picture"}},
    ]
    with WebServer(example("label_studio_backend").app, port=0) as backend, asked(backend) as client:
        assert client.get("/health").json()["status"] == "UP"
        assert client.post("/setup", json={"project": "1", "schema": CONFIG}).json()["model_version"]
        answer = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG, "project": "1"}).json()
    assert len(answer["results"]) == 5
    (bare,), (mask,) = (answer["results"][number]["result"] for number in (0, 1))
    assert bare["value"]["rectanglelabels"] == ["No mask"]
    assert mask["value"]["rectanglelabels"] == ["Mask"]
    assert (mask["from_name"], mask["to_name"], mask["type"]) == ("masks", "photo", "rectanglelabels")
    x1, y1, x2, y2 = one_thread.detect(jpeg(masked)).xyxy[0] / 512 * 100
    place = [mask["value"][name] for name in ("x", "y", "width", "height")]
    np.testing.assert_allclose(place, [x1, y1, x2 - x1, y2 - y1], atol=0.1)
    assert [one["result"] for one in answer["results"][2:]] == [[], [], []]
    assert "only pictures on" in answer["results"][2]["error"]
    assert asked_for == ["/data/upload/1/bare.jpg", "/data/upload/1/masked.jpg", "/data/upload/1/nothing.jpg"]


@pytest.fixture(scope="module")
def figures(one_thread):
    """Names of all figures of a server with a camera that has been asked for a picture."""
    board = Board()
    camera = Script("door", ["live", *paced(3000, 0.02)])
    options = ServeOptions(port=0)
    with (
        serving(one_thread, one_thread, options, cameras=BoardFeed(board)) as running,
        watching([camera], Bare(), WatchOptions(), board.show),
        asked(running) as http_client,
    ):
        http_client.post("/v1/detect", content=b"", headers=JPEG)
        wait_until(lambda: "camera_compliance_ratio{" in http_client.get("/metrics").text)
        text = http_client.get("/metrics").text
    return set(re.findall(r"^([a-z_]+)(?:\{| )", text, flags=re.MULTILINE))


def names_in(expression):
    return set(re.findall(r"\b(?:maskwatch|process)_[a-z_]+", expression))


def test_grafanas_panels_ask_for_figures_that_exist(figures):
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    for panel in panels:
        for target in panel["targets"]:
            assert names_in(target["expr"]), panel["title"]
            assert names_in(target["expr"]) <= figures, panel["title"]


def test_prometheus_examples_fit(figures):
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:8360"]
    rules = yaml.safe_load((DEPLOY / scrape["rule_files"][0]).read_text())["groups"][0]["rules"]
    for rule in rules:
        assert names_in(rule["expr"]) <= figures, rule["alert"]
        assert rule["annotations"]["summary"]


def test_home_assistants_entities_are_those_we_announce():
    """Entity ids follow from the device's and the entity's name, as Home Assistant makes them."""
    text = (DEPLOY / "home-assistant.yaml").read_text()
    dashboard = yaml.safe_load(text)
    assert dashboard["views"][0]["cards"]
    announced = {f"sensor.maskwatch_door_{name}" for name in (*COUNTS, "compliance")}
    announced |= {"binary_sensor.maskwatch_door_state", "camera.maskwatch_door"}
    assert set(re.findall(r"entity: (\S+)", text)) == announced
