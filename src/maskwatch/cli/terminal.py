"""The command's own voice: one line a sentence, nothing in it that steers a terminal."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwatch.addresses import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


def say(console: Console, words: str) -> None:
    """Print words as they are: names of files may look like markup, and hold anything."""
    lines = "\n".join(map(printable, words.split("\n")))
    console.print(lines, markup=False, highlight=False, soft_wrap=True)


def progress_bar(console: Console, *extra: ProgressColumn, quiet: bool, transient: bool = True) -> Progress:
    """A bar with counts and the time left, `extra` columns before that; nothing at all where it would not do.

    That is: where quiet was asked for, or `console` is no terminal. Words are shown as they are.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        """Older Rich prints an empty line at the end of a bar that was never shown."""

        def stop(self) -> None:
            if not self.disable:
                super().stop()

    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), *extra, TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    return Bar(*columns, console=console, disable=hidden, transient=transient)


def write_json(target: str | None, content: Any, *, sync: bool = False) -> None:
    """The results of a command as JSON: to a file, to standard output for "-", nowhere for None.

    Raises:
        SourceError: the file cannot be written.
    """
    if target is None:
        return
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from maskwatch.files import write_whole

    write_whole(Path(target), text, sync=sync)


def complain(words: str) -> None:
    """One sentence on standard error; a closed or full one is no reason to fail differently."""
    try:
        print(f"maskwatch: {printable(words)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def tell_places(error: BaseException) -> None:
    """Where an error and its causes were raised: types and lines, never texts, which may hold a password."""
    cause: BaseException | None = error
    while cause is not None:
        complain(f"{type(cause).__module__}.{type(cause).__name__}, raised at")
        for frame in traceback.extract_tb(cause.__traceback__):
            complain(f"  {frame.filename}:{frame.lineno} {frame.name}")
        cause = cause.__cause__ or cause.__context__


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
