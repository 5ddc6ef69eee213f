"""The fenced blocks of the documentation, and what their commands name, for tests/test_docs.py.

Looked at first: sybil and mktestdocs run Python blocks, but hand shell blocks to a shell or leave them; none
parses a command line without running it, which cameras, clusters and trainings need.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from maskwatch.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
GROUP = typer.main.get_command(app)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is that of its first line in the page, from 1."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All pages that people read."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks in these languages, or all."""
    return [
        block for page in pages() for block in blocks_of(page) if not languages or block.language in languages
    ]


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of one page."""
    content = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(content):
        line = content.count("\n", 0, match.start("text")) + 1
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        yield Block(str(page.relative_to(ROOT)), line, match["language"], text)


def lines_of(block: Block) -> list[str]:
    """The command lines of a shell block, without comments of their own, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def commands_of(line: str) -> list[list[str]]:
    """The words of each command in a line of shell: `a | b && c` holds three."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [words[: words.index(">")] if ">" in words else words for words in commands if words]


def parse(words: list[str]) -> str:
    """Parse `words` after `maskwatch` completely, without running anything; the command's name.

    Raises:
        click's UsageError: the program would not take them.
    """
    if words and words[0] in {name for option in GROUP.params for name in option.opts}:
        return words[0]
    context: Any = GROUP.make_context("maskwatch", list(words))
    rest, group = [*context._protected_args, *context.args], GROUP
    while True:
        name, command, rest = group.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
        if not hasattr(command, "commands"):
            return str(name)
        rest, group = [*context._protected_args, *context.args], command


def mentioned(text: str) -> list[list[str]]:
    """The words of each `maskwatch …` that stands in the running text."""
    plain = _FENCE.sub("", text)
    return [found.split() for found in re.findall(r"`maskwatch ([a-z][^`]*)`", plain)]


def unknown(words: list[str]) -> list[str]:
    """What of a mention the program does not know: its command, or options."""
    command: Any = GROUP
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if command is GROUP:
        return words[:1]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    known |= {"-v", "--verbose", "--help", "-h"}
    named = [re.split(r"[=,]", word.rstrip(".:;)"))[0] for word in words if re.match(r"--?[a-z]", word)]
    return [name for name in named if name not in known]
