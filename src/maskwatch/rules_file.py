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
import os
import re
import sys
from pathlib import Path
from typing import Any

from maskwatch.addresses import printable
from maskwatch.errors import OptionError
from maskwatch.events import Line, Rules, Zone
from maskwatch.files import LARGEST_SETTINGS_BYTES, read_text
from maskwatch.suggest import did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST_NAME = 100
_VARIABLE = re.compile(r"\$\{(\w+)\}")


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
        return tomllib.loads(read_text(path, LARGEST_SETTINGS_BYTES))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path}: no TOML file ({error}); check how it was written") from error


def expand_variables(value: Any, name: str) -> Any:
    """A value of a TOML file with variables of the environment in the places of `${NAME}`.

    Raises:
        OptionError: there is no such variable; `name` is what the message calls the place.
    """
    if isinstance(value, dict):
        return {key: expand_variables(one, f"{name}: {key}") for key, one in value.items()}
    if isinstance(value, list):
        return [expand_variables(one, name) for one in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise OptionError(f"{name}: the environment has no variable {match[1]}; set it before the start")
        return found

    return _VARIABLE.sub(variable, value)


def rules_of(content: dict[str, Any], name: str) -> Rules:
    """Rules from a table that was read already; `name` is what errors call it.

    Raises:
        OptionError: a key or value is wrong.
    """
    known = {field.name for field in dataclasses.fields(Rules)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise OptionError(
            f"{name}: unknown rule {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            f"{did_you_mean(unknown[0], known)}"
        )
    values = dict(content)
    try:
        values["zones"] = tuple(_zone(table) for table in content.get("zones", ()))
        values["lines"] = tuple(_line(table) for table in content.get("lines", ()))
        return Rules(**values)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise OptionError(
            f"{name}: a rule has a wrong value ({type(error).__name__}: {error}); check it"
        ) from error


def _zone(table: dict[str, Any]) -> Zone:
    return Zone(_name(table), tuple(_point(corner) for corner in table["corners"]))


def _line(table: dict[str, Any]) -> Line:
    return Line(_name(table), _point(table["start"]), _point(table["end"]))


def _name(table: dict[str, Any]) -> str:
    """What events and screens will call a zone or line."""
    return printable(str(table["name"]))[:LONGEST_NAME]


def _point(pair: Any) -> tuple[float, float]:
    x, y = pair
    return float(x), float(y)
