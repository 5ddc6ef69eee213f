"""The documented interface: complete, with examples that fit, and answers that are as documented."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskwatch.web import schemas
from maskwatch.web.access import Access
from maskwatch.web.app import create_app
from maskwatch.web.batching import Batcher
from maskwatch.web.gate import Gate
from maskwatch.web.limits import Limits
from maskwatch.web.meters import Meters
from maskwatch.web.models import OfferedModels
from maskwatch.web.service import Service
from maskwatch.web.videos import VideoJobs
from tests.fuzz.seeds import picture, pictures
from tests.web.conftest import JPEG, asked

EXAMPLES = {
    schemas.Face: schemas.FACE,
    schemas.Summary: schemas.SUMMARY,
    schemas.Answer: schemas.ANSWER,
    schemas.Problem: schemas.PROBLEM,
    schemas.Job: schemas.JOB,
}


def test_every_route_says_what_it_is_for(http):
    content = http.get("/openapi.json").json()
    assert content["info"]["title"] == "maskwatch"
    paths = content["paths"]
    assert {
        "/v1/detect",
        "/v1/videos",
        "/v1/model",
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics",
    } <= set(paths)
    for path, methods in paths.items():
        for method, route in methods.items():
            assert route["summary"], (method, path)
            assert route["tags"], (method, path)
    body = paths["/v1/detect"]["post"]["requestBody"]["content"]
    assert "multipart/form-data" in body
    assert "image/jpeg" in body
    assert "image/jpeg" in paths["/v1/detect"]["post"]["responses"]["200"]["content"]
    assert content["components"]["schemas"]["Answer"]["examples"] == [schemas.ANSWER]


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_examples_fit_their_shapes(model):
    assert model.model_validate(EXAMPLES[model]).model_dump() == EXAMPLES[model]


def test_the_documentation_needs_no_other_host(http):
    page = http.get("/docs").text
    assert not re.search(r"(src|href)=.?https?:", page)
    assert http.get("/app/docs.js").status_code == 200


def test_the_card_holds_all_a_browser_needs(http, one_thread):
    card = http.get("/v1/model").json()
    assert {field.name for field in dataclasses.fields(one_thread.card)} < set(card)
    offered, _ = http.get("/app/models/index.json").json()["models"]
    assert {name: offered[name] for name in card} == card
    model = http.get(f"/app/models/{offered['file']}")
    assert len(model.content) == offered["bytes"]
    for name in ("max_side", "large_face_px", "part_covered", "verdicts", "size_multiple"):
        assert card[name], name
    assert http.get("/app/models/../../errors.py").status_code == 404
    assert http.get("/app/models/other.onnx").status_code == 404


def test_health(http):
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}


def test_not_ready_is_503(one_thread):
    """A server whose threads do not run is alive, but ready for nothing."""
    limits = Limits()
    gate = Gate(limits)
    service = Service(
        batcher=Batcher(one_thread, workers=1, together=1),
        videos=VideoJobs(one_thread, limits),
        models=OfferedModels(),
        limits=limits,
        gate=gate,
        meters=Meters(one_thread.card, gate, "0"),
        access=Access(),
    )

    async def get(path):
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)

    def ask(path):  # in a thread of its own: Playwright leaves a loop in the main one
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, get(path)).result()

    assert ask("/v2/health/live").json() == {"live": True}
    answer = ask("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})


def test_figures_follow_the_names_of_the_field(http, server):
    with asked(server) as other:
        other.post("/v1/detect", content=picture("JPEG"), headers=JPEG)
        other.get("/nothing/that/is/here")
    lines = http.get("/metrics").text.splitlines()
    names = {re.match(r"[a-z_]+", line).group(0) for line in lines if line and not line.startswith("#")}
    counters = [
        line.split()[2] for line in lines if line.startswith("# TYPE maskwatch") and line.endswith("counter")
    ]
    assert all(name.endswith("_total") for name in counters)
    assert "maskwatch_http_request_duration_seconds_bucket" in names
    routes = set(re.findall(r'maskwatch_http_requests_total\{[^}]*route="([^"]+)"', "\n".join(lines)))
    assert "/v1/detect" in routes
    assert not any("nothing" in route for route in routes), "callers cannot make labels"


@given(changes=st.data())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_damaged_pictures_get_an_answer(server, changes):
    """Whatever is sent, the answer is faces or a problem of the caller's, and the server lives."""
    damaged = bytearray(changes.draw(st.sampled_from(pictures())))
    for _ in range(changes.draw(st.integers(0, 6))):
        at = changes.draw(
            st.integers(0, min(len(damaged), changes.draw(st.sampled_from([40, 200, 10**6]))) - 1)
        )
        damaged[at] = changes.draw(st.integers(0, 255))
    data = bytes(damaged[: changes.draw(st.integers(0, len(damaged)))])
    with asked(server) as http:
        if changes.draw(st.booleans()):
            answer = http.post("/v1/detect", content=data, headers=JPEG)
        else:
            answer = http.post("/v1/detect", files={"file": (changes.draw(st.text(max_size=9)), data)})
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text
    if answer.status_code == 200:
        schemas.Answer.model_validate(answer.json())
