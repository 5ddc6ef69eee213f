"""The page as a folder of files, and what npm brings into it."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import onnxruntime
import pytest

from maskwatch import ModelError, OptionError
from maskwatch.web import files
from maskwatch.web.site import export_site
from tests.commands import run

ROOT = Path(__file__).resolve().parents[2]
vendor = runpy.run_path(str(ROOT / "web" / "vendor.py"))


def test_the_folder_is_complete_and_names_no_other_host(tmp_path):
    site = export_site(tmp_path / "site")
    html = (site.folder / "index.html").read_text()
    assert re.search(r'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'', html)
    assert 'data-server="none"' in html
    for name in re.findall(r'(?:src|href)="([^"#]+)"', html):
        if name not in ("./", "dashboard", "docs"):
            assert (site.folder / name).is_file(), name
    for script in (site.folder / "app").glob("*.js"):
        text = script.read_text()
        assert not re.search(r"\w+://\w", text), script
        for name in re.findall(r'(?:from|import)\s*\(?"(\./[^"]+)"', text):
            assert (script.parent / name).is_file(), (script, name)
    cards = json.loads((site.folder / "app/models/index.json").read_text())["models"]
    assert [card["name"] for card in cards] == ["maskwatch-small", "maskwatch-nano"], "the default one first"
    models = [f"app/models/{card['file']}" for card in cards]
    for model in models:
        onnxruntime.InferenceSession(str(site.folder / model))
    listed = json.loads(re.search(r"const FILES = (\[.*\]);", (site.folder / "sw.js").read_text()).group(1))
    there = {str(path.relative_to(site.folder)) for path in site.folder.rglob("*") if path.is_file()}
    assert set(listed) - {"./"} <= there
    assert {"index.html", "app/page.js", *models} <= set(listed)
    assert not any("asyncify" in name for name in listed), "fetched only by who needs it"


def test_another_model_makes_another_version(tmp_path):
    packaged = ROOT / "src/maskwatch/models/maskwatch-small.onnx"
    copies = [tmp_path / "nano.onnx", tmp_path / "other" / "nano.onnx"]
    copies[1].parent.mkdir()
    for copy in copies:
        shutil.copyfile(packaged, copy)
    one, two = export_site(tmp_path / "one"), export_site(tmp_path / "two", copies)
    version = [
        re.search(r'VERSION = "maskwatch-(\w{16})"', (site.folder / "sw.js").read_text()).group(1)
        for site in (one, two)
    ]
    assert version[0] != version[1]
    cards = json.loads((two.folder / "app/models/index.json").read_text())["models"]
    assert [card["file"] for card in cards] == ["nano.onnx", "nano-2.onnx"]
    assert (two.folder / "app/models/nano-2.onnx").read_bytes() == packaged.read_bytes()
    with pytest.raises(ModelError):
        export_site(tmp_path / "three", [ROOT / "pyproject.toml"])


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds something else"):
        export_site(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    export_site(tmp_path / "site")
    export_site(tmp_path / "site")


def test_the_command(tmp_path):
    done = run("export", "--web", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    assert "files" in done.stdout
    done = run("export")
    assert done.returncode == 2
    assert "--web DIR" in done.stderr


def test_the_page_alone_is_small():
    """The budget: all that the page for pictures loads, without onnxruntime, the model and the example."""
    own = [
        name for name in files.names() if "/vendor/" not in name and name not in ("app/example.jpg", "sw.js")
    ]
    own = [name for name in own if name not in ("dashboard.html", "docs.html")]
    assert sum(len(files.content(name)) for name in own) <= 150_000


def packages(folder: Path, version: str = "1.2.3") -> Path:
    """A package.json with one package, and that package in node_modules."""
    package = {
        "dependencies": {"little": "1.2.3"},
        "devDependencies": {},
        "vendor": {"l/x.js": "little/dist/x.js"},
    }
    (folder / "package.json").write_text(json.dumps(package))
    dist = folder / "node_modules" / "little" / "dist"
    dist.mkdir(parents=True)
    (dist / "x.js").write_text("export {};")
    (dist.parent / "package.json").write_text(json.dumps({"version": version}))
    return folder


def test_what_is_installed_is_copied(tmp_path):
    assert vendor["fill"](packages(tmp_path), tmp_path / "out") == ""
    assert (tmp_path / "out" / "l" / "x.js").read_text() == "export {};"


def test_an_editable_install_does_not_run_npm(tmp_path):
    problem = vendor["fill"](packages(tmp_path, version="0.9"), tmp_path / "out", may_install=False)
    assert "python web/vendor.py" in problem


def test_without_npm_the_build_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = vendor["fill"](packages(tmp_path, version="0.9"), tmp_path / "out")
    assert "npm is not installed" in problem
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a script takes npm's place")
def test_an_npm_that_fails_is_quoted(tmp_path, monkeypatch):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'network unreachable' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/bin:/usr/bin")
    problem = vendor["fill"](packages(tmp_path, version="0.9"), tmp_path / "out")
    assert "network unreachable" in problem


def test_versions_are_exact_and_scripts_never_run():
    package = json.loads((ROOT / "web" / "package.json").read_text())
    for version in (*package["dependencies"].values(), *package["devDependencies"].values()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert "--ignore-scripts" in (ROOT / "web" / "vendor.py").read_text()
