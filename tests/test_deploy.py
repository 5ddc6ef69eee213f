"""What is in deploy/ fits the program: every command parses, every file that is named is there."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import typer

from maskwatch.cli.app import app
from tests.clips import make_clip
from tests.commands import COMMAND, ENVIRONMENT
from tests.services.servers import Broker, Postgres, answers, free_port, wait_until

yaml = pytest.importorskip("yaml")
tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
MADE_BY_THE_READER = {DEPLOY / "compose" / "api-key"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def parses(words: list[str]) -> str:
    """The command that `words` call; fails where the program would not take them."""
    command = typer.main.get_command(app).commands[words[0]]
    command.make_context(words[0], list(words[1:]))
    return words[0]


def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def instructions() -> list[str]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_commands_of_compose():
    services = compose()["services"]
    ours = {name: one for name, one in services.items() if one["image"] == "maskwatch"}
    assert {parses(one["command"]) for one in ours.values()} == {"watch", "serve"}
    for one in ours.values():
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert any(volume.endswith(":/var/lib/maskwatch") for volume in one["volumes"])
    with pytest.raises(Exception, match="No such option"):
        parses(["serve", "--hots", "0.0.0.0"])


def test_files_that_compose_names():
    everything = compose()
    named = set()
    for service in everything["services"].values():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                path = (DEPLOY / source).resolve()
                assert path.exists() or path in MADE_BY_THE_READER, source
                named.add(target)
            else:
                assert source in everything["volumes"], source
        for waits_for in service.get("depends_on", {}):
            assert waits_for in everything["services"]
        build = service.get("build")
        if build:
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    command = everything["services"]["watch"]["command"] + everything["services"]["serve"]["command"]
    files = [word for word in command if word.startswith("/etc/maskwatch/")]
    assert {Path(file).name for file in files} == {"cameras.toml", "api-key"}
    dashboards = yaml.safe_load((DEPLOY / "compose/grafana/dashboards/maskwatch.yaml").read_text())
    folder = dashboards["providers"][0]["options"]["path"]
    assert any(target.startswith(folder) for target in named)


def test_no_port_of_compose_is_open_to_others():
    ports = [port for one in compose()["services"].values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_stands_in_compose():
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"PASSWORD: (?!\$\{)", text) == []
    assert "postgresql://maskwatch:${DB_PASSWORD:?" in text


def test_cameras_of_compose(monkeypatch):
    config = pytest.importorskip("maskwatch.watch.config")
    monkeypatch.setenv("DB_PASSWORD", "x")
    cameras = config.read_config(DEPLOY / "compose" / "cameras.toml").cameras
    hosts = set(compose()["services"])
    for camera in cameras.values():
        assert {
            re.split(r"[@/:]+", sink.rpartition("@")[2].split("://")[-1])[0] for sink in camera.sinks
        } <= hosts


def test_prometheus_of_compose_asks_the_server():
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    ((host, port),) = [
        target.split(":") for target in config["scrape_configs"][0]["static_configs"][0]["targets"]
    ]
    service = compose()["services"][host]
    assert any(one.endswith(f":{port}") for one in service["ports"])
    mounts = [volume.split(":")[1] for volume in compose()["services"]["prometheus"]["volumes"]]
    assert config["scrape_configs"][0]["authorization"]["credentials_file"] in mounts
    assert f"/etc/prometheus/{config['rule_files'][0]}" in mounts


def test_the_image():
    lines = instructions()
    (default,) = [line.split("=", 1)[1] for line in lines if line.startswith("ARG EXTRAS=")]
    assert set(default.split(",")) <= set(EXTRAS)
    (words,) = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    assert parses(yaml.safe_load(words)) == "serve"
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert not users[-1].startswith(("root", "0"))
    (check,) = [line for line in lines if line.startswith("HEALTHCHECK")]
    assert "/v2/health/ready" in check
    assert (DEPLOY / "Dockerfile").read_text().count("FROM ") == 3
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_what_docker_is_given_suffices():
    """Whatever the build reads is on the list, and nothing with a secret or a gigabyte is."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    given = {line[1:] for line in lines if line.startswith("!")}
    assert {
        "src",
        "pyproject.toml",
        "constraints.txt",
        "hatch_build.py",
        "web/vendor.py",
        "README.md",
    } <= given
    assert all((ROOT / name).exists() for name in given)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / "maskwatch.service")
    return parser


def test_the_unit_starts_what_we_have():
    program, *words = shlex.split(unit()["Service"]["ExecStart"])
    assert program.endswith("/bin/maskwatch")
    assert parses(words) == "watch"
    text = (DEPLOY / "maskwatch.service").read_text()
    others = re.findall(r"^#\s+ExecStart=\S+/maskwatch (.*)$", text, flags=re.MULTILINE)
    assert [parses(shlex.split(other)) for other in others] == ["serve"]
    extras = re.findall(r"maskwatch\[([a-z,]+)\]", text)
    assert extras
    assert all(set(one.split(",")) <= set(EXTRAS) for one in extras)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_sound_and_shut(tmp_path):
    program = unit()["Service"]["ExecStart"].split()[0]
    path = tmp_path / "maskwatch.service"
    path.write_text((DEPLOY / "maskwatch.service").read_text().replace(program, "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_page_on_installing_names_what_there_is():
    page = (ROOT / "docs" / "install.md").read_text()
    assert set(re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)) == set(EXTRAS)
    for name in re.findall(r"`(deploy/[\w./-]+)`", page):
        assert (ROOT / name).is_file(), name
    for extras in re.findall(r"WHEEL\[([a-z,]+)\]|EXTRAS=([a-z,]+)", page):
        assert set("".join(extras).split(",")) <= set(EXTRAS)
    ran = [
        line.split(" maskwatch ", 1)[1]
        for line in page.splitlines()
        if re.match("docker run .* maskwatch ", line)
    ]
    assert [parses(shlex.split(words)) for words in ran] == ["image"]


def test_the_health_check_of_the_image_finds_a_server(one_thread):
    serving = pytest.importorskip("maskwatch.web.serving")
    (line,) = [line for line in instructions() if line.startswith("HEALTHCHECK")]
    program, *words = yaml.safe_load(line[line.index("[") :])
    assert program == "python"
    with serving.serving(one_thread, one_thread, serving.ServeOptions(port=0)) as server:
        own = [word.replace("http://127.0.0.1:8360/", server.url) for word in words]
        assert own != words
        assert subprocess.run([sys.executable, *own], timeout=60).returncode == 0
    assert subprocess.run([sys.executable, *own], timeout=60, capture_output=True).returncode != 0


class BrokerOfCompose(Broker):
    """mosquitto with the settings of compose.yaml, on a port and in a folder of its own."""

    def command(self) -> list[str]:
        text = (DEPLOY / "compose" / "mosquitto.conf").read_text()
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        text = text.replace("/mosquitto/data/", f"{self.folder}/")
        config = self.folder / "mosquitto.conf"
        config.write_text(f"{text}user root\n")
        return [str(self.program), "-c", str(config)]


def test_what_compose_starts_works_together(tmp_path, astronaut):
    """Its two commands with its files, on a real broker and database; only addresses are others."""
    httpx = pytest.importorskip("httpx")
    clip = make_clip(tmp_path / "door.mp4", [astronaut[:320, 60:380].copy()] * 30, rate=Fraction(15))
    key = "0123456789abcdef" * 3
    (tmp_path / "api-key").write_text(f"{key}\n")
    with BrokerOfCompose() as broker, Postgres() as database:
        there = f"tester:${{DB_PASSWORD}}@127.0.0.1:{database.port}/postgres"
        text = (DEPLOY / "compose" / "cameras.toml").read_text()
        for old, new in (
            ("maskwatch:${DB_PASSWORD}@database/maskwatch", there),
            ("mqtt://broker/", f"mqtt://127.0.0.1:{broker.port}/"),
            ("rtsp://camera.example/stream", str(clip)),
        ):
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "cameras.toml").write_text(text)
        services = compose()["services"]
        port = free_port()

        def start(name: str, *more: str) -> subprocess.Popen:
            words = [word.replace("/etc/maskwatch", str(tmp_path)) for word in services[name]["command"]]
            told = services[name]["environment"].items()
            own = {
                variable: value.replace(
                    "maskwatch:${DB_PASSWORD:?write it to .env}@database/maskwatch", there
                )
                .replace("${DB_PASSWORD:?write it to .env}", "s3cret")
                .replace("${DB_PASSWORD}", "s3cret")
                for variable, value in told
            }
            environment = {**ENVIRONMENT, **own, "HOME": str(tmp_path)}
            return subprocess.Popen(
                [*COMMAND, *words, *more], env=environment, stderr=subprocess.PIPE, text=True
            )

        watch = start("watch", "--duration", "8")
        _, said = watch.communicate(timeout=120)
        assert watch.returncode == 0, said
        assert "s3cret" not in said
        assert len(re.findall(r"[1-9]\d* of \d+ events delivered", said)) == 2, said
        serve = start("serve", "--port", str(port))
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                wait_until(lambda: answers(port), 60)
                assert http.get("/v2/health/ready").status_code == 200, "the health check has no key"
                assert http.get("/metrics").status_code == 401
                shown = {"Authorization": f"Bearer {key}"}
                assert "maskwatch_" in http.get("/metrics", headers=shown).text
                events = http.get("/v1/events", headers=shown)
                assert events.status_code == 200
                assert "door" in events.text
        finally:
            serve.terminate()
            assert serve.wait(60) == 0
            serve.stderr.close()
