"""Build hook: the pages' libraries are copied from npm into the wheel, or named as missing."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class VendoredLibraries(BuildHookInterface):
    """Runs web/vendor.py before the files of a wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 — hatch's form
        """Fill the folder that pyproject.toml names under `artifacts`; who edits the code says when."""
        fill = runpy.run_path(str(Path(self.root, "web", "vendor.py")))["fill"]
        problem = fill(may_install=version != "editable")
        if problem:
            self.app.display_warning(f"maskwatch: {problem}")
