"""Start, hurt and restart real servers; tests without them are skipped, or fail where CI asks for all."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from typing_extensions import Self

STRICT = "MASKWATCH_TEST_SERVICES"
RATE = 10


def missing(what: str) -> None:
    """End a test that needs what is not here."""
    words = f"{what} is not installed here: run tests/services/install.sh"
    if os.environ.get(STRICT):
        pytest.fail(words, pytrace=False)
    pytest.skip(words)


def free_port() -> int:
    """A port on loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], object], timeout_s: float = 20.0, every_s: float = 0.05) -> None:
    """Wait for a condition, and fail when it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {holds}")
        time.sleep(every_s)


def answers(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


Running = TypeVar("Running", bound="Server")


class Server:
    """A process on a port of its own; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, and wait until it answers; again, while what was killed still blocks the way."""

        def runs() -> bool:
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(
                    self.command(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            return answers(self.port)

        wait_until(runs, every_s=0.2)

    def kill(self) -> None:
        """End it without warning, children included."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            wait_until(lambda: not answers(self.port))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.kill()


class Broker(Server):
    """mosquitto, which forgets everything when killed."""

    def __init__(self) -> None:
        super().__init__()
        self.program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if self.program is None:
            missing("mosquitto")
        self.folder = Path(tempfile.mkdtemp(prefix="maskwatch-mosquitto-"))

    def command(self) -> list[str]:
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        return [str(self.program), "-c", str(config)]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}/site"


class Postgres(Server):
    """PostgreSQL with a cluster of its own; it refuses to run as root, so it runs as `postgres` then."""

    def __init__(self) -> None:
        super().__init__()
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            missing("postgresql")
        self.programs = found[-1].parent
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.folder = Path(tempfile.mkdtemp(prefix="maskwatch-postgres-", dir="/tmp"))
        if self.as_user:
            shutil.chown(self.folder, "postgres")
        subprocess.run(
            [
                *self.as_user,
                self.programs / "initdb",
                "-D",
                self.folder / "data",
                "-A",
                "trust",
                "-U",
                "tester",
            ],
            check=True,
            capture_output=True,
            cwd="/tmp",
        )

    def command(self) -> list[str]:
        settings = ["-c", f"port={self.port}", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=on"]
        sockets = ["-c", f"unix_socket_directories={self.folder}"]
        return [
            *self.as_user,
            str(self.programs / "postgres"),
            "-D",
            str(self.folder / "data"),
            *settings,
            *sockets,
        ]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        return f"postgresql://tester:secret@127.0.0.1:{self.port}/postgres"


class RtspCamera(Server):
    """gst-rtsp-server, in the system's Python; see rtsp_server.py."""

    def __init__(self) -> None:
        super().__init__()
        check = (
            "import gi; gi.require_version('GstRtspServer', '1.0'); "
            "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
            "assert all(Gst.ElementFactory.find(name) for name in ('x264enc', 'rtph264pay', 'appsrc'))"
        )
        self.python = "/usr/bin/python3"
        if subprocess.run([self.python, "-c", check], capture_output=True).returncode:
            missing("gst-rtsp-server")
        self.began = time.time()

    def command(self) -> list[str]:
        program = str(Path(__file__).with_name("rtsp_server.py"))
        return [self.python, program, str(self.port), str(RATE), f"{self.began:.3f}"]

    def stall(self) -> None:
        """Stop it where it is: connections stay open and say nothing."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/camera"


class ObjectStore(Server):
    """moto's server: S3 in memory, over HTTP."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    @property
    def environment(self) -> dict[str, str]:
        """What a client must find in its environment."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        """An empty bucket."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200


if __name__ == "__main__":
    sys.exit("imported by the tests")
