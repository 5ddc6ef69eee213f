"""The page for pictures: both engines find what Python finds, and one of them sends nothing."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import FileChooser, expect

from maskwatch import boxes
from maskwatch.labels import LABELS
from tests.browser.conftest import PHONE, Log, choose, open_ready, results, serious, upper_half
from tests.conftest import crowd
from tests.golden import ANSWERS


def corners(faces):
    return np.array([[face["box"][name] for name in ("x1", "y1", "x2", "y2")] for face in faces], np.float32)


def check_golden(images, only=None):
    """Each picture has the golden faces: the same labels, boxes with an IoU of 0.9, scores within 0.05."""
    expected = json.loads(ANSWERS.read_text())["pictures"]
    expected = {name: answer for name, answer in expected.items() if only is None or name in only}
    assert {image["name"] for image in images} == {f"{name}.png" for name in expected}
    for image in images:
        answer = expected[image["name"].removesuffix(".png")]
        faces = image["faces"]
        assert len(faces) == len(answer["xyxy"]), image["name"]
        wanted = np.array(answer["xyxy"], np.float32)
        overlap = np.diag(boxes.iou(corners(faces), wanted))
        assert overlap.min() >= 0.9, image["name"]
        scores = np.array([[face["label_scores"][name] for name in LABELS] for face in faces])
        np.testing.assert_allclose(scores, answer["label_scores"], atol=0.05, err_msg=image["name"])
        labels = [LABELS[place] for place in np.argmax(answer["label_scores"], axis=1)]
        assert [face["label"] for face in faces] == labels, image["name"]


def test_this_device_finds_what_python_finds_and_sends_nothing(page, server, golden):
    log = open_ready(page, server.url)
    before = list(log.sent)
    assert {urlsplit(one.url).netloc for one in before} == {urlsplit(server.url).netloc}
    for one in before:
        assert one.method == "GET"
        assert one.post_data is None
        assert urlsplit(one.url).query == ""
        assert urlsplit(one.url).path == "/" or urlsplit(one.url).path.startswith("/app/")
    choose(page, list(golden.values()))
    content = results(page)
    check_golden(content["images"])
    assert content["model"]["sha256"] == json.loads(ANSWERS.read_text())["sha256"]
    assert [one.url for one in log.sent[len(before) :]] == [], "nothing was asked of anybody"
    assert log.complaints == []
    expect(page.locator("#took")).to_contain_text("processor, ")
    assert page.evaluate("crossOriginIsolated")


def test_its_policy_would_not_let_it_send_anything(page, server):
    """Whatever the page's code does: the browser blocks each way out, and the server hears nothing."""
    open_ready(page, server.url)
    log = Log(page)
    blocked = page.evaluate(
        """async () => {
          const blocked = [];
          const note = (event) => blocked.push(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", note);
          const tries = [
            () => fetch("/v1/detect", {method: "POST", body: "picture"}),
            () => fetch("https://example.org/?picture"),
            () => new Promise((done, fail) => {
              const request = new XMLHttpRequest();
              request.onload = done;
              request.onerror = () => fail(new Error("blocked"));
              request.open("POST", "/v1/detect");
              request.send("picture");
            }),
            () => new Promise((done, fail) => {
              const image = new Image();
              image.onload = done;
              image.onerror = () => fail(new Error("blocked"));
              image.src = "/v1/model?picture";
            }),
            () => import("https://example.org/module.js"),
          ];
          let failed = 0;
          for (const attempt of tries) await attempt().catch(() => (failed += 1));
          navigator.sendBeacon("/v1/detect", "picture");
          new WebSocket("wss://example.org/");
          await new Promise((done) => setTimeout(done, 300));
          return {failed, blocked};
        }"""
    )
    assert blocked["failed"] == 5
    assert blocked["blocked"].count("connect-src") == 5
    assert blocked["blocked"].count("img-src") == 1
    assert [one.url for one in log.sent if not one.failure] == []


def test_the_server_finds_the_same(page, server, golden):
    log = open_ready(page, f"{server.url}?engine=server")
    expect(page.locator("input[value=server]")).to_be_checked()
    choose(page, list(golden.values()))
    check_golden(results(page)["images"])
    asked = [one for one in log.sent if one.method == "POST"]
    assert {urlsplit(one.url).path for one in asked} == {"/v1/detect"}
    assert len(asked) == len(golden)
    assert log.complaints == []


@pytest.mark.parametrize("engine", ["device", "server"])
def test_photos_on_their_side_are_set_right(page, server, engine, one_thread, astronaut, tmp_path):
    open_ready(page, f"{server.url}?engine={engine}")
    pictures = [np.rot90(astronaut[:400], quarters) for quarters in (1, 2, 3)]
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        PIL.Image.fromarray(picture).save(path)
    choose(page, paths)
    for path, image in zip(paths, results(page)["images"], strict=True):
        here = one_thread.detect(path)
        assert [face["verdict"] for face in image["faces"]] == here.verdict_names == ["without_mask"]
        assert boxes.iou(corners(image["faces"]), here.xyxy)[0, 0] >= 0.95
        np.testing.assert_allclose(image["faces"][0]["score"], here.score[0], atol=0.01)


@pytest.mark.parametrize("engine", ["device", "server"])
def test_large_crowds_are_looked_at_from_closer(
    page, server, engine, one_thread, astronaut, face_box, tmp_path
):
    photo, expected = crowd(astronaut, face_box, face_px=17, size_wh=(2048, 1536))
    path = tmp_path / "crowd.png"
    PIL.Image.fromarray(photo).save(path)
    open_ready(page, f"{server.url}?engine={engine}")
    choose(page, [path])
    (image,) = results(page)["images"]
    here = one_thread.detect(path)
    assert len(here) >= len(expected) - 1
    assert len(image["faces"]) == len(here)
    assert boxes.iou(corners(image["faces"]), here.xyxy).max(axis=1).min() >= 0.9


@pytest.mark.parametrize("engine", ["device", "server"])
def test_the_webcam_sees_a_mask_put_on(page, server, engine, one_thread, astronaut, masked):
    log = open_ready(page, f"{server.url}?engine={engine}")
    page.click("#webcam")
    surest = page.locator("#faces tbody tr").first.locator("td").first
    for verdict in ("No mask", "Mask", "No mask"):
        expect(surest).to_have_text(re.compile(rf"^.{verdict}$"))
    expect(page.locator("#took")).to_contain_text("pictures a second")
    (image,) = results(page)["images"]
    assert (image["width"], image["height"]) == (320, 240)
    here = [one_thread.detect(upper_half(picture)).xyxy[:1] for picture in (astronaut, masked)]
    assert max(boxes.iou(corners(image["faces"]), box)[0, 0] for box in here) >= 0.9
    page.click("#webcam")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#picture")).to_be_hidden()
    posts = [one for one in log.sent if one.method != "GET"]
    assert bool(posts) is (engine == "server")


def test_a_camera_that_is_refused_is_explained(browser, server):
    context = browser.new_context(permissions=[])
    page = context.new_page()
    open_ready(page, server.url)
    page.click("#webcam")
    expect(page.locator("#message")).to_contain_text("may not be used")
    context.close()


def test_changing_the_engine_keeps_the_photos(page, server, golden):
    open_ready(page, server.url)
    choose(page, [golden["bare"], golden["surgical"]])
    page.check("input[value=server]")
    expect(page.locator("html[data-engine=server]")).to_have_count(1)
    expect(page.locator("#photos button")).to_have_count(2)
    expect(page.locator("#took")).to_contain_text(", server")
    expect(page.locator("#words")).to_have_text("1 face: 1 no mask")
    page.reload()
    expect(page.locator("#engine-state")).to_contain_text("Ready")
    expect(page.locator("#empty")).to_be_visible()


def test_drop_paste_and_what_is_no_picture(page, server, golden):
    open_ready(page, server.url)
    give = """([kind, name, type, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name, {type}));
      const init = {bubbles: true, cancelable: true};
      const event = kind === "drop" ? new DragEvent("drop", {...init, dataTransfer: data})
        : new ClipboardEvent("paste", {...init, clipboardData: data});
      document.body.dispatchEvent(event);
    }"""
    page.evaluate(give, ["drop", "surgical.png", "image/png", list(golden["surgical"].read_bytes())])
    expect(page.locator("#words")).to_have_text("1 face: 1 mask")
    page.evaluate(give, ["paste", "image.png", "image/png", list(golden["bare"].read_bytes())])
    expect(page.locator("#words")).to_have_text("1 face: 1 no mask")
    expect(page.locator("#photos button")).to_have_count(2)
    page.evaluate(give, ["drop", "letter.jpg", "image/jpeg", list(b"no picture")])
    expect(page.locator("#message")).to_have_text("letter.jpg is no picture that this browser can read.")
    assert results(page)["summary"] == {
        "images": 3,
        "failed": 1,
        "faces": 2,
        "with_mask": 1,
        "without_mask": 1,
        "mask_worn_incorrectly": 0,
        "uncertain": 0,
        "compliance": 0.5,
    }


def test_the_threshold_and_the_picture_with_boxes(page, server, golden, tmp_path):
    open_ready(page, server.url)
    choose(page, [golden["bare"]])
    with page.expect_download() as download:
        page.click("#save-png")
    assert download.value.suggested_filename == "bare-maskwatch.png"
    drawn = np.array(PIL.Image.open(download.value.path()).convert("RGB")).astype(int)
    plain = np.array(PIL.Image.open(golden["bare"])).astype(int)
    changed = (np.abs(drawn - plain).max(axis=2) > 60).nonzero()
    assert changed[0].min() < 55
    assert changed[0].max() < 200
    choose(page, [golden["quarter"]])
    page.locator("#threshold").fill("99")  # more than the detector is sure of so small a face
    expect(page.locator("#words")).to_have_text("No face was found.")
    expect(page.locator("#threshold-words")).to_contain_text("99 %")


def test_keyboard_alone(page, server, golden):
    open_ready(page, server.url)
    page.bring_to_front()  # a window in the background gets no keys
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    expect(page.locator("#choose")).to_be_focused()
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108 — Playwright wants a function
    for _ in range(5):  # Chromium opens none for a key that comes while its window is being activated
        page.keyboard.press("Enter")
        page.wait_for_timeout(2000)
        if choosers:
            break
    choosers[0].set_files([str(golden["bare"]), str(golden["surgical"])])
    expect(page.locator("#photos button")).to_have_count(2)
    expect(page.locator("#words")).to_have_text("1 face: 1 no mask")
    before = page.evaluate("document.querySelector('#picture').toDataURL()")
    # again each second: a window that a busy machine is still activating tells nobody of the focus
    page.wait_for_function(
        """before => {
          if (document.querySelector("#picture").toDataURL() != before) return true;
          document.activeElement.blur();
          document.querySelector("#faces tbody tr").focus();
          return false;
        }""",
        arg=before,
        polling=1000,
    )
    page.locator("#photos button").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#words")).to_have_text("1 face: 1 mask")
    expect(page.locator("#photos button").nth(1)).to_be_focused()


def test_nothing_hinders_people(page, server):
    """axe-core without and with results, in light and dark; 200 % zoom and a phone scroll one way."""
    open_ready(page, server.url)
    assert serious(page) == []
    page.click("#example")
    expect(page.locator("#faces tbody tr")).to_have_count(4)
    assert serious(page) == []
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert serious(page) == []
    for size in ({"width": 640, "height": 400}, PHONE, {"width": 320, "height": 640}):
        page.set_viewport_size(size)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= size["width"]
    assert serious(page) == []


def test_without_the_runtime_the_page_says_so(page, server):
    page.route("**/vendor/ort/**", lambda route: route.fulfill(status=404))
    page.goto(server.url)
    expect(page.locator("#engine-state")).to_contain_text("needs onnxruntime-web")
    page.unroute("**/vendor/ort/**")
    page.route("**/models/*.onnx", lambda route: route.fulfill(status=404))
    page.goto(server.url)
    expect(page.locator("#engine-state")).to_contain_text("could not be loaded")


def test_saved_results_tell_photos_that_failed_from_those_that_wait(page, server, golden, tmp_path):
    page.add_init_script(
        """const open = self.createImageBitmap.bind(self);
        self.createImageBitmap = (file, ...more) =>
          file.name === "late.png" ? new Promise(() => {}) : open(file, ...more);"""
    )
    open_ready(page, server.url)
    (tmp_path / "letter.jpg").write_bytes(b"no picture")
    (tmp_path / "late.png").write_bytes(golden["bare"].read_bytes())
    page.set_input_files("#chooser", [str(golden["bare"]), tmp_path / "letter.jpg", tmp_path / "late.png"])
    expect(page.locator("#photos li.failed")).to_have_count(1)
    done, failed, waiting = results(page)["images"]
    assert len(done["faces"]) == 1
    assert failed["problem"] == {
        "title": "letter.jpg is no picture that this browser can read.",
        "status": 422,
    }
    assert waiting["problem"] == {"title": "late.png was not looked at yet.", "status": 503}
