"""A word that nobody knows is often a slip of the keys: which known word was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` to end a sentence with, or nothing where no known word is close."""
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def neighbours(path: Path, most: int = 2000) -> list[str]:
    """Names beside `path` in its folder, at most `most` of them; none where it cannot be looked into."""
    try:
        return [one.name for one, _ in zip(path.parent.iterdir(), range(most), strict=False)]
    except (OSError, ValueError):
        return []
