"""The dashboard: cameras that come and go, alerts, events, and what is shown of nobody."""

from __future__ import annotations

import contextlib
import csv
import json
import threading
from pathlib import Path

import pytest
from playwright.sync_api import expect

from maskwatch.events import Rules
from maskwatch.pipeline import Delivery, WatchOptions, watch_cameras
from maskwatch.sinks.database import Database
from maskwatch.sinks.event_store import EventStore
from maskwatch.sinks.spool import Spool
from maskwatch.web.board import Board
from maskwatch.web.live_page import LivePage
from maskwatch.web.serving import ServeOptions, serving, watching
from maskwatch.web.streams import BoardFeed
from tests.browser.conftest import PHONE, Log, open_ready, results, serious
from tests.test_live import Bare, Script, paced

OPTIONS = WatchOptions(rules=Rules(without_mask_s=0.3, repeat_s=1), aggregate_every_s=0.5)


class Switched(Script):
    """A camera that is live until the test says otherwise."""

    def __init__(self, name):
        super().__init__(name, [])
        self.lose, self.find = threading.Event(), threading.Event()

    def __iter__(self):
        self.items = ["connecting", "live", 1]
        yield from super().__iter__()
        while not self.stopped and not self.lose.is_set():
            self.items = paced(5, 0.05)
            yield from super().__iter__()
        self.items = ["lost"]
        yield from super().__iter__()
        while not self.stopped and not self.find.wait(0.05):
            pass
        while not self.stopped:
            self.items = ["live", *paced(5, 0.05)] if self.items == ["lost"] else paced(5, 0.05)
            yield from super().__iter__()


@contextlib.contextmanager
def watched(one_thread, folder, *, options=OPTIONS, pictures=True, **more):
    """A server that watches a camera called door, with an event store."""
    url = f"sqlite:///{folder / 'events.db'}"
    camera, board, store = Switched("door"), Board(pictures=pictures), EventStore(url)
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        delivery = stack.enter_context(Delivery(Database(url), Spool(folder / "spool.db")))

        def on_step(step):
            for event in step.events:
                delivery.write(event)
            board.show(step)

        stack.enter_context(watching([camera], Bare(), options, on_step))
        served = serving(
            one_thread, one_thread, ServeOptions(port=0, **more), cameras=BoardFeed(board), events=store
        )
        yield stack.enter_context(served), camera


def test_a_camera_is_seen_lost_and_found(page, one_thread, tmp_path):
    page.add_init_script(
        """window.told = [];
        window.Notification = class {
          static permission = "default";
          static requestPermission = async () => "granted";
          constructor(title, options) { window.told.push(`${title}: ${options.body}`); }
        };"""
    )
    log = Log(page)
    with watched(one_thread, tmp_path) as (server, camera):
        page.goto(f"{server.url}dashboard")
        card = page.locator("article.camera")
        expect(card.locator("h2")).to_have_text("door")
        expect(card.locator(".state")).to_have_text("Live")
        expect(card.locator(".people dd")).to_have_text("1")
        expect(card.locator(".without_mask dd")).to_have_text("1")
        expect(card.locator(".compliance dd")).to_have_text("0 %")
        expect(page.locator("#connection")).to_have_text("Connected")
        expect(card.locator("img")).to_have_js_property("naturalWidth", 192)
        expect(card.locator(".chart canvas")).to_have_count(1)
        expect(page.locator("#alerts li").first).to_contain_text("without a mask")
        page.click("#notices")
        expect(page.locator("#notices")).to_have_attribute("aria-pressed", "true")
        page.click("#sound")
        expect(page.locator("#sound")).to_have_text("Sound: on")
        camera.lose.set()
        expect(card.locator(".state")).to_have_text("Lost")
        expect(card.locator(".why")).to_contain_text("nobody is being watched. Reconnecting, try 0: cable")
        expect(card.locator(".people dd")).to_have_text("–")
        expect(card.locator(".without_mask dd")).to_have_text("–")
        expect(page.locator("#alerts li").first).to_contain_text("door is lost: cable")
        expect(page.locator("#events")).to_contain_text("camera lost")
        camera.find.set()
        expect(card.locator(".state")).to_have_text("Live")
        expect(page.locator("#alerts")).to_contain_text("door is back after")
        told = page.evaluate("window.told")
        assert any("door is lost" in one for one in told)
        assert serious(page) == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        assert log.complaints == []
    expect(page.locator("#connection")).to_contain_text("No connection")


def test_events_are_filtered_and_exported(page, one_thread, tmp_path):
    with watched(one_thread, tmp_path) as (server, _):
        page.goto(f"{server.url}dashboard")
        rows = page.locator("#events tbody tr")
        expect(page.locator("#events .kind.alert").first).to_be_visible()
        page.select_option("select[name=kind]", "start")
        expect(rows).to_have_count(1)
        expect(rows.first).to_contain_text("came")
        page.select_option("select[name=kind]", "alert")
        expect(rows.first).to_contain_text("person 1 without a mask")
        page.fill("input[name=text]", "no such words")
        page.keyboard.press("Enter")
        expect(page.locator("#events-total")).to_have_text("No events match.")
        expect(rows).to_have_count(0)
        page.fill("input[name=text]", "")
        page.select_option("select[name=hours]", "1")
        expect(rows.first).to_contain_text("person 1")
        with page.expect_download() as download:
            page.click("#csv")
        table = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert {row["kind"] for row in table} == {"alert"}
        page.click("button[data-hours='24']")
        expect(page.locator("button[data-hours='24']")).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".chart canvas")).to_have_count(1)


def test_aggregates_alone_show_nobody(page, one_thread, tmp_path):
    options = WatchOptions(rules=OPTIONS.rules, aggregate_every_s=0.5, aggregate_only=True)
    log = Log(page)
    with watched(one_thread, tmp_path, options=options, pictures=False) as (server, _):
        page.goto(f"{server.url}dashboard")
        expect(page.locator(".people dd")).to_have_text("1")
        expect(page.locator(".overlay")).to_have_text("Numbers only: pictures are switched off")
        expect(page.locator("article img")).to_be_hidden()
        assert not [one.url for one in log.sent if one.resource_type == "image" and "/v1/" in one.url]
        expect(page.locator("#no-alerts")).to_be_visible()
        expect(page.locator("#events-total")).to_have_text("No events match.")


def test_a_live_camera_on_the_page_for_pictures(page, one_thread, tmp_path):
    with watched(one_thread, tmp_path) as (server, _):
        open_ready(page, f"{server.url}?engine=server")
        page.click("#live")
        expect(page.locator("#live-picture")).to_have_js_property("naturalWidth", 192)
        expect(page.locator("#faces tbody tr")).to_have_count(1)
        expect(page.locator("#faces tbody tr")).to_contain_text("No mask")
        (image,) = results(page)["images"]
        assert image["name"] == "door"
        assert image["faces"][0]["track_id"] == 1
        with page.expect_download() as download:
            page.click("#save-png")
        assert Path(download.value.path()).stat().st_size > 1000
        page.click("#live")
        expect(page.locator("#empty")).to_be_visible()
        page.goto(server.url)
        expect(page.locator("#live")).to_be_hidden()


def test_a_server_with_a_key_asks_once(page, one_thread, tmp_path):
    key = "0123456789abcdef"
    with watched(one_thread, tmp_path, api_key=key) as (server, _):
        page.goto(f"{server.url}dashboard")
        expect(page.locator("#key")).to_be_visible()
        assert serious(page) == []
        page.fill("#key-field", "this is not the key")
        page.keyboard.press("Enter")
        expect(page.locator("#key-message")).to_have_text("This is not the key.")
        page.fill("#key-field", key)
        page.keyboard.press("Enter")
        expect(page.locator("#key")).to_be_hidden()
        expect(page.locator(".state")).to_have_text("Live")
        expect(page.locator("article img")).to_have_js_property("naturalWidth", 192)
        expect(page.locator("#events .kind").first).to_be_visible()
        open_ready(page, f"{server.url}?engine=server")
        page.click("#example")
        expect(page.locator("#faces tbody tr").first).to_be_visible()


def test_the_page_of_maskwatch_live_is_the_same(page):
    log = Log(page)
    stop = threading.Event()
    with LivePage(port=0) as live:
        thread = threading.Thread(
            target=watch_cameras,
            args=([Script("door", ["live", *paced(4000, 0.02)])], Bare(), live.show),
            kwargs={"options": OPTIONS, "stop": stop},
        )
        thread.start()
        try:
            page.goto(live.url)
            expect(page.locator(".state")).to_have_text("Live")
            expect(page.locator("article img")).to_have_js_property("naturalWidth", 192)
            expect(page.locator("#alerts li").first).to_contain_text("without a mask")
            expect(page.locator(".chart canvas")).to_have_count(1)
            expect(page.locator("#events")).to_be_hidden()
            expect(page.locator("nav a")).to_have_count(0)
            assert log.complaints == []
        finally:
            stop.set()
            thread.join()


def test_the_documentation(page, server):
    log = Log(page)
    page.goto(f"{server.url}docs")
    expect(page.locator(".opblock").first).to_be_visible()
    expect(page.locator(".opblock-summary-path").first).to_contain_text("/v1/detect")
    assert log.complaints == []


@pytest.mark.parametrize("path", ["dashboard", "docs"])
def test_without_libraries_pages_say_what_is_missing(page, one_thread, tmp_path, path):
    with watched(one_thread, tmp_path) as (server, _):
        page.route("**/vendor/**", lambda route: route.fulfill(status=404))
        page.goto(f"{server.url}{path}")
        words = "Charts need uPlot" if path == "dashboard" else "needs swagger-ui"
        expect(page.locator("main")).to_contain_text(words)
        if path == "dashboard":
            expect(page.locator(".people dd")).to_have_text("1")


def test_the_json_is_what_the_page_shows(page, one_thread, tmp_path):
    """Other programs read the same state."""
    with watched(one_thread, tmp_path) as (server, _):
        page.goto(f"{server.url}dashboard")
        expect(page.locator(".people dd")).to_have_text("1")
        state = json.loads(page.request.get(f"{server.url}v1/cameras").text())
        assert state["cameras"][0]["in_view"]["without_mask"] == 1
