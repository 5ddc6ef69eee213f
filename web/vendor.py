"""Copies what the pages take from npm into the package: `python web/vendor.py`, or by the build.

Exact versions and files stand in package.json. npm runs only if they are not there yet, and never an
install script of a package. Without npm, or without a network, the package is built without them;
its pages say what is missing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "maskwatch" / "web" / "static" / "app" / "vendor"
NPM_WITHIN_S = 180


def fill(
    here: Path = HERE, target: Path = TARGET, *, with_tools: bool = False, may_install: bool = True
) -> str:
    """Copy the files to `target`; "" when all are there, or else a sentence on what is missing.

    `with_tools` installs what tests and type checks need, too; unless it `may_install`, npm is not run.
    """
    package = json.loads((here / "package.json").read_text(encoding="utf-8"))
    if not _is_installed(here, package, with_tools=with_tools):
        if not may_install:
            return "the pages' libraries are left out; python web/vendor.py brings them"
        problem = _install(here, with_tools=with_tools)
        if problem:
            return problem
    for name, source in package["vendor"].items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(here / "node_modules" / source, copy)
        except OSError as error:
            return (
                f"{source}: cannot be copied ({error.strerror}); delete {here / 'node_modules'} and try again"
            )
    return ""


def _is_installed(here: Path, package: dict[str, Any], *, with_tools: bool) -> bool:
    """Whether node_modules holds just the versions that are asked for."""
    wanted = dict(package["dependencies"])
    if with_tools:
        wanted |= package["devDependencies"]
    for name, version in wanted.items():
        manifest = here / "node_modules" / name / "package.json"
        if not manifest.is_file() or json.loads(manifest.read_text(encoding="utf-8"))["version"] != version:
            return False
    return True


def _install(here: Path, *, with_tools: bool) -> str:
    """Run npm; "" if it did, or else why not."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed: detection in the browser, charts and /docs are left out"
    command = [npm, "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
    if not with_tools:
        command.append("--omit=dev")
    try:
        done = subprocess.run(
            command, cwd=here, capture_output=True, text=True, check=False, timeout=NPM_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"npm did not finish ({type(error).__name__}): the pages' libraries are left out"
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[0]
        return f"npm failed ({reason}): the pages' libraries are left out"
    return ""


if __name__ == "__main__":
    sys.exit(fill(with_tools="--with-tools" in sys.argv[1:]) or None)
