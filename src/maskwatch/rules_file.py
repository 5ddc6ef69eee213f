"""Rules from a TOML file.

    without_mask_s = 2.0
    compliance_below = 0.9
    compliance_window_s = 300

    [[zones]]
    name = "counter"
    corners = [[0.1, 0.2], [0.9, 0.2], [0.9, 1.0], [0.1, 1.0]]

    [[lines]]
    name = "door"
    start = [0.5, 0.0]
    end = [0.5, 1.0]

Points are shares of the picture's width and height.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from maskwatch.errors import OptionError
from maskwatch.events import Line, Rules, Zone

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_rules(path: Path) -> Rules:
    """Rules of one TOML file.

    Raises:
        OptionError: it cannot be read, or a key or value is wrong; the message names it.
    """
    return rules_of(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        OptionError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: no TOML file ({error})") from error


def rules_of(content: dict[str, Any], name: str) -> Rules:
    """Rules from a table that was read already; `name` is what errors call it.

    Raises:
        OptionError: a key or value is wrong.
    """
    known = {field.name for field in dataclasses.fields(Rules)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise OptionError(f"{name}: unknown rule {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values = dict(content)
    try:
        values["zones"] = tuple(_zone(table) for table in content.get("zones", ()))
        values["lines"] = tuple(_line(table) for table in content.get("lines", ()))
        return Rules(**values)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(f"{name}: a rule has a wrong value ({type(error).__name__}: {error})") from error


def _zone(table: dict[str, Any]) -> Zone:
    return Zone(str(table["name"]), tuple(_point(corner) for corner in table["corners"]))


def _line(table: dict[str, Any]) -> Line:
    return Line(str(table["name"]), _point(table["start"]), _point(table["end"]))


def _point(pair: Any) -> tuple[float, float]:
    x, y = pair
    return float(x), float(y)
