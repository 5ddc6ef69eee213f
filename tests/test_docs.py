"""Every command and snippet of README.md and docs/ works: run where that is quick, else parsed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import urllib.request
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from benchmarks.__main__ import BENCHMARKS

from maskwatch.cli.settings import settings, walk
from maskwatch.events import Rules
from maskwatch.rules_file import read_rules, tomllib
from maskwatch.sinks.schema import open_engine, tables
from tests.clips import make_clip
from tests.commands import COMMAND, ENVIRONMENT
from tests.commands import run as command
from tests.snippets import GROUP, ROOT, blocks, commands_of, lines_of, mentioned, pages, parse, unknown

yaml = pytest.importorskip("yaml")
SERVER = "http://127.0.0.1:8360"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

NOT_RUN = {
    r"maskwatch (live|watch|serve)\b": "runs until it is stopped; tests/test_live.py and tests/web run it",
    r"maskwatch (train|train-detector)\b": "takes minutes; tests/training trains",
    r"maskwatch export .*\.keras": "needs a trained Keras model; tests/training exports",
    r"maskwatch batch\b": "starts Ray or a pool, or asks an object store; tests/test_batch.py runs it",
    r"ray start ": "starts a cluster; tests/test_cluster.py starts one",
    r"maskwatch doctor .*\.toml": "asks cameras, a broker and a database that are not here",
    r"maskwatch --(install|show)-completion": "asks which shell is in use, and writes to the home folder",
    r"(\S*/)?(make|pip|pipx|uv) ": "installs; the target and the extras must exist",
    r"(docker|systemctl) ": "needs a daemon; the files that are named must exist",
    r"(cd|cp|mkdir|printf|openssl|chmod|export) |python3 -m venv": "prepares a machine; "
    "files of deploy/ that are named must exist",
}
"""Lines of shell that are parsed and checked, not run, and why."""


@pytest.fixture(scope="module")
def place(tmp_path_factory, astronaut, masked):
    """A folder with all that snippets name."""
    folder = tmp_path_factory.mktemp("reader")
    bare, worn = PIL.Image.fromarray(astronaut), PIL.Image.fromarray(masked)
    for name in (
        "photo.jpg",
        "street.jpg",
        "a.jpg",
        "b.jpg",
        "holiday/1.jpg",
        "shots/may/2.png",
        "photos/3.jpg",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (worn if name < "d" else bare).save(folder / name)
    for label, image in (("with_mask", worn), ("without_mask", bare)):
        (folder / "my-faces" / label).mkdir(parents=True)
        for number in range(4):
            image.rotate(number).save(folder / "my-faces" / label / f"{number}.jpg")
    labels(folder / "my-labels", worn)
    pictures = [masked[:320, 60:380].copy()] * 8
    (folder / "clips").mkdir()
    for name in ("shift.mp4", "street.mp4", "door.mp4", "entrance.mp4", "clips/1.mov"):
        make_clip(folder / name, pictures, rate=Fraction(8))
    make_clip(folder / "day.mp4", pictures, times=[Fraction(1000 * index) for index in range(8)])
    (folder / "rules.toml").write_text("without_mask_s = 2\n")
    (folder / "cameras.toml").write_text('[cameras.door]\nsource = "door.mp4"\n')
    (folder / "yunet_n.pth").touch()
    engine = open_engine(f"sqlite:///{folder / 'events.db'}", "events.db")
    tables().create_all(engine)
    engine.dispose()
    pytest.importorskip("pyarrow")
    assert command("batch", "photos", "-o", "results", "--local", cwd=folder).returncode == 0
    (folder / "key").write_text("0123456789abcdef" * 2)
    classifiers = pytest.importorskip("tests.test_classifier")
    (folder / "runs" / "mine").mkdir(parents=True)
    classifiers.make(folder / "runs" / "mine" / "mask_detector.onnx", classes=("with_mask", "without_mask"))
    (folder / "bin").mkdir()
    call = f'exec {COMMAND[0]} {COMMAND[1]} "{COMMAND[2]}" "$@"'
    for name, text in (("maskwatch", call), ("python", f'exec {COMMAND[0]} "$@"')):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def labels(folder, picture):
    """A COCO folder: one picture with a face, and others that are like nothing."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    pictures = [picture] + [
        PIL.Image.fromarray(chance.integers(0, 255, (8, 8, 3), np.uint8)).resize((256, 256))
        for _ in range(11)
    ]
    names = ("with_mask", "without_mask", "mask_worn_incorrectly")
    images, faces = [], []
    for number, one in enumerate(pictures, 1):
        one.save(folder / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "width": one.width, "height": one.height})
        box = {"bbox": [178, 63, 60, 90], "area": 5400, "iscrowd": 0}
        faces.append({"id": number, "image_id": number, "category_id": 1 + number % 3, **box})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": images, "annotations": faces, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def server(one_thread):
    """A running `maskwatch serve`."""
    serving = pytest.importorskip("maskwatch.web.serving")
    with serving.serving(one_thread, one_thread, serving.ServeOptions(port=0)) as running:
        yield running.url.rstrip("/")


def reason(line: str) -> str | None:
    """Why a line is not run; None if it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line.lstrip())), None)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell(block, place, server, monkeypatch):
    monkeypatch.chdir(place)
    for line in lines_of(block):
        for words in commands_of(line):
            check(words)
        if reason(line) is None:
            run(line, place, server)


def run(line, place, server):
    """Run one line in `place`, with the server of the tests in the place of the reader's."""
    line = line.replace(SERVER, server).replace("curl ", "curl --fail --silent --show-error ")
    program = line.split()[0]
    if program in ("curl", "sqlite3") and shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", line],
        cwd=place,
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


def check(words):
    """Fail where a command names what is not there."""
    while "=" in words[0]:  # A=B before a command
        words = words[1:] or ["export"]
    program, rest = Path(words[0]).name, words[1:]
    for word in rest:
        assert not word.startswith(("deploy/", "examples/")) or (ROOT / word).exists(), word
    if program == "maskwatch":
        parse(rest)
    elif program == "make":
        assert {word for word in rest if "=" not in word} <= set(TARGETS), words
    elif program == "docker":
        docker(rest)
    elif program in ("python", "python3"):
        python(rest)
    elif program == "curl":
        assert any(SERVER in word for word in rest), f"{words}: an address that no test serves"
    elif program != "sqlite3":
        line = " ".join([program, *rest])
        assert reason(line), f"{line}: no rule in tests/test_docs.py says how this is checked"


def docker(rest):
    if rest[:1] == ["run"] and "maskwatch" in rest and rest[-1] != "maskwatch":
        parse(rest[rest.index("maskwatch") + 1 :])
    if "-f" in rest:
        assert (ROOT / rest[rest.index("-f") + 1]).is_file()


def python(rest):
    if rest[0] == "-c":
        compile(rest[1], "<snippet>", "exec")
    elif rest[:2] == ["-m", "benchmarks"]:
        assert set(rest[2:]) <= {*BENCHMARKS, "page"}
    elif rest[0] != "-m":
        assert (ROOT / rest[0]).is_file(), rest


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("python")}))
def test_python(page, place, server, monkeypatch):
    """The blocks of a page run one after the other, as a reader types them."""
    monkeypatch.chdir(place)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks("python"):
        if block.page == page:
            text = "\n" * (block.line - 1) + block.text.replace(SERVER, server)
            exec(compile(text, str(ROOT / page), "exec"), names)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml(block, tmp_path, monkeypatch):
    """Each file is read by what reads it in the program."""
    for name in re.findall(r"\$\{(\w+)\}", block.text):
        monkeypatch.setenv(name, "secret")
    file = tmp_path / "file.toml"
    file.write_text(block.text)
    content = tomllib.loads(block.text)
    if "cameras" in content:
        pytest.importorskip("maskwatch.watch.config").read_config(file)
    elif content.keys() & {field.name for field in dataclasses.fields(Rules)}:
        read_rules(file)
    else:
        for words, command in walk(GROUP):
            if not hasattr(command, "commands"):
                settings(GROUP, GROUP.make_context("maskwatch", list(words)), file, list(words))


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json(block, place, server):
    """What the documentation shows as an answer has no key that a real answer lacks."""
    shown = json.loads(block.text)
    if "images" in shown:
        asked = urllib.request.Request(
            f"{server}/v1/detect", (place / "a.jpg").read_bytes(), {"Content-Type": "image/jpeg"}
        )
        with urllib.request.urlopen(asked) as answer:
            assert set(keys(shown)) <= set(keys(json.load(answer)))
    else:
        from maskwatch.events.event import Event

        event = Event("alert", "door", 1.0).to_dict()
        shown = shown["events"][0] if "events" in shown else shown
        assert shown.keys() <= event.keys() | {"event_id"}


def keys(value, path=""):
    """The paths of all keys; `…` stands for what is left out."""
    if isinstance(value, list):
        value = {"[]": value[0]} if value else {}
    if isinstance(value, dict):
        for name, one in value.items():
            if name != "…":
                yield f"{path}.{name}"
                yield from keys(one, f"{path}.{name}")


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml(block):
    assert isinstance(yaml.safe_load(block.text), dict | list)


def test_no_block_is_left_out():
    known = {"sh", "python", "toml", "json", "yaml", "text"}
    assert [str(block) for block in blocks() if block.language not in known] == []


def test_every_reason_is_needed():
    lines = [line.lstrip() for block in blocks("sh") for line in lines_of(block)]
    for pattern in NOT_RUN:
        assert any(re.match(pattern, line) for line in lines), f"no line needs {pattern}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_text_names(page):
    """Commands, options, extras, targets and files that stand in the running text."""
    text = page.read_text(encoding="utf-8")
    for words in mentioned(text):
        assert unknown(words) == [], " ".join(words)
    for extras in re.findall(r"(?:maskwatch|WHEEL|\.)\[([a-z,]+)\]", text):
        assert set(extras.split(",")) <= set(EXTRAS), extras
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= set(TARGETS)
    for name in re.findall(r"`((?:deploy|examples|benchmarks|tests|docs|configs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "line",
    [
        "maskwatch image photo.jpg --scoer-threshold 0.5",
        "maskwatch live 0 --port many",
        "maskwatch watsch cameras.toml",
        "maskwatch data crops",
        "make everything",
        "frobnicate now",
    ],
)
def test_a_wrong_command_is_noticed(line):
    with pytest.raises(Exception, match=r".") as caught:
        for words in commands_of(line):
            check(words)
    assert isinstance(caught.value, AssertionError) or hasattr(caught.value, "exit_code")


def test_a_wrong_mention_is_noticed():
    assert unknown(["live", "0", "--sinks", "x"]) == ["--sinks"]
    assert unknown(["data", "crops", "--least-px"]) == []
    assert unknown(["look"]) == ["look"]
