"""docs/flags.md: which command has which option. `python docs/_site/flags.py` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from maskwatch.cli.app import app
from maskwatch.cli.settings import walk

PAGE = Path(__file__).resolve().parents[1] / "flags.md"
HEAD = """# Options by command

The same option has the same name and the same meaning on every command that has it.
`maskwatch COMMAND --help` says more; [configuration.md](configuration.md) says how to set one for good.
This page is written by `python docs/_site/flags.py`, and a test fails when it is old.

"""
LEAST = 3
"""Options of fewer commands stand in the second table."""


def options_of_all() -> dict[str, dict[str, Any]]:
    """The option of each command, by the option's first long name and by the words of the command."""
    found: dict[str, dict[str, Any]] = {}
    for words, command in walk(typer.main.get_command(app)):
        if hasattr(command, "commands"):
            continue
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                long = next(name for name in option.opts if name.startswith("--"))
                found.setdefault(long, {})[" ".join(words)] = option
    return dict(sorted(found.items()))


def page() -> str:
    """The whole page."""
    options = options_of_all()
    commands = [
        " ".join(words) for words, one in walk(typer.main.get_command(app)) if not hasattr(one, "commands")
    ]
    shared = {name: uses for name, uses in options.items() if len(uses) >= LEAST}
    lines = [
        f"| | {' | '.join(shared)} |".replace("--", "`--").replace(" |", "` |").replace("|` |", "| |", 1)
    ]
    lines.append("|---" * (len(shared) + 1) + "|")
    for command in commands:
        marks = ["●" if command in uses else "" for uses in shared.values()]
        lines.append(f"| `{command}` | {' | '.join(marks)} |")
    rows = ["", "| option | also | | commands |", "|---|---|---|---|"]
    for name, uses in options.items():
        one = next(iter(uses.values()))
        others = [f"`{other}`" for other in (*one.opts, *one.secondary_opts) if other != name]
        takes = f" `{one.metavar}`" if one.metavar else ""
        places = ", ".join(uses) if len(uses) < len(commands) else "all"
        words = (one.help or "").replace("|", "\\|")
        rows.append(f"| `{name}`{takes} | {', '.join(others)} | {words} | {places} |")
    return HEAD + "\n".join([*lines, *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
