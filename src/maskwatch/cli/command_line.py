"""The group of all commands: options of the environment and of a file, and --verbose in any place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from maskwatch.cli.settings import FILE_VARIABLE, settings, settings_file
from maskwatch.cli.terminal import complain

_VERBOSE = ("-v", "--verbose")
_HELP = ("-h", "--help")


class CommandLine(TyperGroup):
    """Reads `maskwatch.toml` and MASKWATCH_… variables before the command's own options.

    Help and completion read neither: they answer with a broken file too, and show no value of it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command, and look up those that are left out behind it."""
        options, rest = _own(args)
        plain = _before_dashes(rest)
        if is_verbose(plain):
            options = [*options, "--verbose"]
            rest = [word for word in plain if word not in _VERBOSE] + rest[len(plain) :]
        left: list[str] = super().parse_args(ctx, [*options, *rest])
        if ctx.resilient_parsing or not rest or any(word in _HELP for word in plain):
            return left
        named = ctx.params.get("config")
        file = settings_file(None if named is None else Path(named))
        ctx.default_map = settings(self, ctx, file, rest)
        quiet = any(word in ("-q", "--quiet") for word in plain)
        if file is not None and named is None and not quiet:
            complain(f"options of {file}; {FILE_VARIABLE}= leaves it out")
        if ctx.params.get("verbose"):
            for place in _places(ctx.default_map):
                complain(f"set by {f'{file} or ' if file else ''}the environment: {place}")
        return left


def is_verbose(words: list[str]) -> bool:
    """Whether --verbose is among the words of a command line."""
    return any(word in _VERBOSE for word in _before_dashes(words))


def _own(args: list[str]) -> tuple[list[str], list[str]]:
    """The options before the command, and the command with all that follows."""
    place = 0
    while place < len(args) and args[place].startswith("-") and args[place] != "--":
        place += 2 if args[place] == "--config" else 1
    return args[:place], args[place:]


def _before_dashes(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def _places(values: dict[str, Any], words: str = "") -> list[str]:
    """The names in nested tables, without values."""
    names: list[str] = []
    for name, value in values.items():
        path = f"{words} {name}".strip()
        names += _places(value, path) if isinstance(value, dict) else [path.replace("_", "-")]
    return names
