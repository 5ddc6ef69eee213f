"""The exported folder on a host of plain files: threads, no network at all, and the graphics card."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from typing import ClassVar

import PIL.Image
import pytest
from playwright.sync_api import expect

from maskwatch.web.site import export_site
from tests.browser.conftest import PATIENCE_MS, choose, launch, open_ready, results
from tests.browser.test_pictures import check_golden


class Plain(http.server.SimpleHTTPRequestHandler):
    """What the simplest of hosts does: files by their suffix, no headers of ours."""

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *_):
        pass


@pytest.fixture
def host(tmp_path):
    """The folder below a path of its own, as on shared hosts."""
    export_site(tmp_path / "web" / "masks")
    handler = functools.partial(Plain, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}/masks/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_works_without_a_network_after_the_first_visit(browser, host, golden):
    server, address = host
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    open_ready(page, address)
    expect(page.locator("input[value=server]")).to_be_disabled()
    expect(page.locator("nav a")).to_have_count(1)
    # the service worker adds the headers: the page loads itself anew, once, and has threads then
    expect(page.locator("#engine-state")).not_to_contain_text("not isolated")
    expect(page.locator("#engine-state")).to_contain_text("Ready")
    assert page.evaluate("crossOriginIsolated")
    server.shutdown()
    server.server_close()
    page.close()
    page = context.new_page()
    log = open_ready(page, address)
    choose(page, [golden["bare"], golden["surgical"]])
    looks = {image["name"]: image["faces"][0]["verdict"] for image in results(page)["images"]}
    assert looks == {"bare.png": "without_mask", "surgical.png": "with_mask"}
    assert page.evaluate("crossOriginIsolated")
    assert log.complaints == []
    context.close()


def test_the_graphics_card_finds_the_same(playwright, server, golden):
    """Chromium's own imitation of one: slow, but it runs the same WebGPU code."""
    flags = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    with launch(playwright, *flags) as running:
        check_graphics_card(running, server, golden)


def check_graphics_card(running, server, golden):
    page = running.new_page()
    page.set_default_timeout(PATIENCE_MS)
    open_ready(page, server.url)
    assert page.evaluate("navigator.gpu.requestAdapter().then((adapter) => adapter !== null)")
    expect(page.locator("#engine-state")).to_have_text(re.compile("^Ready: processor, "))
    page.select_option("#processor", "webgpu")
    expect(page.locator("#engine-state")).to_have_text("Ready: graphics card (WebGPU)")
    choose(page, [golden["quarter"]])
    expect(page.locator("#took")).to_contain_text("graphics card")
    check_golden(results(page)["images"], only=("quarter",))
    blank = golden["quarter"].with_name("blank.png")
    PIL.Image.new("RGB", (64, 48)).save(blank)
    choose(page, [blank])  # the network's last operators have nothing to work on
    expect(page.locator("#took")).to_contain_text("graphics card")
    assert results(page)["images"][-1]["faces"] == []
