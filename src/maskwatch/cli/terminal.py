"""The command's own voice: one line a sentence, nothing in it that steers a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from maskwatch.addresses import printable

if TYPE_CHECKING:
    from rich.console import Console


def say(console: Console, words: str) -> None:
    """Print words as they are: names of files may look like markup, and hold anything."""
    lines = "\n".join(map(printable, words.split("\n")))
    console.print(lines, markup=False, highlight=False, soft_wrap=True)


def complain(words: str) -> None:
    """One sentence on standard error; a closed or full one is no reason to fail differently."""
    try:
        print(f"maskwatch: {printable(words)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def speak_to_any_terminal() -> None:
    """Let output of any characters pass, whatever the terminal's encoding: escaped, where it lacks them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def let_go_of_output() -> None:
    """Give up an output that takes nothing any more, so that Python's own last flush does not fail on it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
