"""The door: hosts, origins, keys and headers."""

from __future__ import annotations

import httpx
import pytest

from maskwatch import OptionError
from maskwatch.web.access import Access, key_of
from maskwatch.web.headers import device_policy
from maskwatch.web.serving import ServeOptions, serving
from tests.conftest import jpeg
from tests.web.conftest import JPEG, asked

KEY = "correct horse battery staple"


def test_every_answer_has_the_headers(http):
    for path in ("/", "/dashboard", "/docs", "/app/page.js", "/v1/model", "/nothing", "/metrics"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["cross-origin-opener-policy"] == "same-origin", path
        assert headers["cross-origin-embedder-policy"] == "require-corp", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "server" not in headers


def policy_of(http, path):
    text = http.get(path).headers["content-security-policy"]
    return dict(part.strip().split(" ", 1) for part in text.split(";"))


def test_the_device_page_may_fetch_its_own_files_and_nothing_else(http):
    host = http.base_url.netloc.decode()
    device = policy_of(http, "/")
    assert device["connect-src"] == f"{host}/app/"
    assert device["img-src"] == f"{host}/app/ blob: data:"
    assert device["form-action"] == "'none'"
    assert device["default-src"] == "'none'"
    assert "unsafe-inline" not in str(device)
    assert policy_of(http, "/?engine=server")["connect-src"] == "'self'"


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "", "[::1", "x'y"])
def test_a_host_header_cannot_write_policy(host):
    assert "connect-src 'self';" in device_policy(host)


def test_other_names_are_refused(http):
    """A name that an attacker points at 127.0.0.1 is not ours (DNS rebinding)."""
    answer = http.get("/v1/model", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert answer.json()["status"] == 421
    assert http.get("/v1/model", headers={"Host": "localhost:1"}).status_code == 200
    assert http.get("/v1/model", headers={"Host": "[::1]:80"}).status_code == 200


def test_other_pages_cannot_make_a_browser_post(http, astronaut):
    data = jpeg(astronaut)
    foreign = {**JPEG, "Origin": "https://evil.example"}
    assert http.post("/v1/detect", content=data, headers=foreign).status_code == 403
    assert http.request("DELETE", "/v1/videos/x", headers=foreign).status_code == 403
    own = {**JPEG, "Origin": str(http.base_url).rstrip("/")}
    assert http.post("/v1/detect", content=data, headers=own).status_code == 200
    assert "access-control-allow-origin" not in http.get("/v1/model", headers=foreign).headers


@pytest.fixture(scope="module")
def locked(one_thread):
    options = ServeOptions(port=0, api_key=KEY, cors_origins=("https://shop.example",))
    with serving(one_thread, one_thread, options) as running:
        yield running


def test_a_key_opens_and_nothing_else_does(locked, astronaut):
    data = jpeg(astronaut)
    wrong = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": KEY[:-1]},
    )
    with asked(locked) as http:
        for headers in (*wrong, {"Cookie": f"maskwatch_session={KEY}"}, {"Cookie": "maskwatch_session"}):
            for method, path in (("POST", "/v1/detect"), ("GET", "/v1/videos"), ("GET", "/metrics")):
                answer = http.request(method, path, content=data, headers={**JPEG, **headers})
                assert answer.status_code == 401, (path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert KEY not in answer.text
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert http.post("/v1/detect", content=data, headers={**JPEG, **headers}).status_code == 200
            assert http.get("/metrics", headers=headers).status_code == 200


def test_pages_and_health_are_open(locked):
    with asked(locked) as http:
        for path in (
            "/",
            "/dashboard",
            "/app/page.js",
            "/v2/health/live",
            "/v2/health/ready",
            "/openapi.json",
        ):
            assert http.get(path).status_code == 200, path
        assert 'data-key="yes"' in http.get("/").text


def test_a_browser_gets_a_cookie_for_the_key(locked):
    with asked(locked) as http:
        assert http.post("/v1/session", json={"key": "wrong"}).status_code == 401
        assert http.get("/v1/model").status_code == 401
        answer = http.post("/v1/session", json={"key": KEY})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert KEY not in cookie
        assert http.get("/v1/model").status_code == 200


def test_pages_that_are_named_may_call(locked):
    with asked(locked) as http:
        asking = {
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        allowed = http.options("/v1/detect", headers=asking)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        answer = http.get("/v1/model", headers={"Origin": "https://shop.example", "X-API-Key": KEY})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        other = http.options("/v1/detect", headers={**asking, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origin", ["*", "shop.example", "https://shop.example/path", "https://*.example"])
def test_origins_that_are_none(origin):
    with pytest.raises(OptionError, match="origin"):
        Access(cors_origins=(origin,))


def test_keys_that_are_none():
    with pytest.raises(OptionError, match="at least 16"):
        Access(api_key="short")
    with pytest.raises(OptionError, match="holds no key"):
        key_of(["# a comment", "  "])
    assert key_of(["# a comment", f"  {KEY} "]) == KEY


def test_a_taken_port_is_named(server, one_thread):
    from maskwatch import SourceError

    port = httpx.URL(server.url).port
    with (
        pytest.raises(SourceError, match=f"127.0.0.1:{port}"),
        serving(one_thread, one_thread, ServeOptions(port=port)),
    ):
        pass
