"""Pages of the site that come from elsewhere: the command line, docstrings, and files of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import maskwatch
from maskwatch.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
COPIES = {
    "index.md": "README.md",
    "model-card.md": "MODEL_CARD.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
HOMES = {source: name for name, source in COPIES.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    pages = {name: (ROOT / source).read_text(encoding="utf-8") for name, source in COPIES.items()}
    pages["cli.md"] = "\n".join(_commands())
    pages["reference.md"] = "\n".join(_reference())
    for name, text in pages.items():
        files.append(File.generated(config, name, content=_relinked(text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files outside of docs/ become plain names."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"`\1`", markdown)


def _relinked(text: str) -> str:
    """Links of a file in the repository's root, as the site has them."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        if re.match(r"https?:|#", target):
            return found.group(0)
        if target.startswith("docs/"):
            return f"[{words}]({target.removeprefix('docs/')})"
        return f"[{words}]({HOMES[target]})" if target in HOMES else f"`{words}`"

    return re.sub(r"\[([^\]]*)\]\(([^)]+)\)", link, text)


def _commands() -> Iterator[str]:
    """Every command with its arguments and options, as the program knows them."""
    yield "# Commands\n\nWritten by the program itself; `maskwatch COMMAND --help` says the same.\n"
    yield from _command("maskwatch", typer.main.get_command(app), level=2)


def _command(name: str, command: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    yield f"{command.help or ''}\n"
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield "| | | default |\n|---|---|---|"
        yield from rows
        yield ""
    for word, child in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {word}", child, level)


def _row(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    elif parameter.metavar:
        names += f" `{parameter.metavar}`"
    default = parameter.default
    shown = (
        "" if default is None or default is False or callable(default) or default == () else f"`{default}`"
    )
    words = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    return f"| {names} | {words} | {shown} |"


def _reference() -> Iterator[str]:
    """The docstrings of all public names."""
    yield "# Docstrings\n"
    homes = maskwatch._HOMES  # noqa: SLF001 — the one table of public names
    for name in sorted(homes):
        yield f"::: maskwatch.{homes[name]}.{name}\n"
