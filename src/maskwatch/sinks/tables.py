"""Results as one JSON or CSV file; both are written whole when the sink closes, on errors too."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from maskwatch.addresses import printable
from maskwatch.detections import Detections
from maskwatch.errors import MaskwatchError
from maskwatch.files import cannot_write, write_whole
from maskwatch.labels import LABELS
from maskwatch.summary import Summary

if TYPE_CHECKING:
    from typing_extensions import Self

    from maskwatch.classifier_card import StagesCard
    from maskwatch.model_card import ModelCard

CSV_COLUMNS: Final = ("path", "face", "x1", "y1", "x2", "y2", "label", "verdict", "score", *LABELS, "error")


class _Table:
    """Collects, and writes its text on exit: to a file, or to standard output for "-"."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        text = self._text()
        try:
            if self._path == "-":
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                write_whole(Path(self._path), text, sync=True)
        except BrokenPipeError:
            raise
        except OSError as reason:
            raise cannot_write(Path("standard output"), reason) from reason

    def _text(self) -> str:
        raise NotImplementedError


class JsonFile(_Table):
    """`{"model": …, "images": [{"path", "faces" | "error"}], "summary": …}`."""

    def __init__(self, path: str, card: ModelCard | StagesCard) -> None:
        """Write to `path`, "-" for standard output."""
        super().__init__(path)
        self._model = {"name": card.name, "version": card.version, "sha256": card.sha256}
        self._images: list[dict[str, Any]] = []
        self.summary = Summary()

    def write(self, path: Path, detections: Detections, error: MaskwatchError | None = None) -> None:
        """Add one picture."""
        if error is not None:
            self._images.append({"path": str(path), "error": str(error)})
            self.summary = self.summary.add_failure()
            return
        self._images.append({"path": str(path), "faces": detections.to_dicts()})
        self.summary = self.summary.add(detections)

    def _text(self) -> str:
        content = {"model": self._model, "images": self._images, "summary": self.summary.to_dict()}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


class CsvFile(_Table):
    """One row a face, and one for each picture that could not be read; see `CSV_COLUMNS`."""

    def __init__(self, path: str) -> None:
        """Write to `path`, "-" for standard output."""
        super().__init__(path)
        self._buffer = io.StringIO(newline="")
        self._rows = csv.DictWriter(self._buffer, CSV_COLUMNS, restval="", lineterminator="\n")
        self._rows.writeheader()

    def write(self, path: Path, detections: Detections, error: MaskwatchError | None = None) -> None:
        """Add one picture."""
        if error is not None:
            self._rows.writerow({"path": _cell(path), "error": str(error)})
        for number, face in enumerate(detections.to_dicts()):
            row = {"path": _cell(path), "face": number, **face["box"], **face["label_scores"]}
            row.update({name: face[name] for name in ("label", "verdict", "score")})
            self._rows.writerow(row)

    def _text(self) -> str:
        return self._buffer.getvalue()


def _cell(path: Path) -> str:
    """A path that no spreadsheet takes for a formula: `./` in front leaves it the same path."""
    text = printable(str(path))
    return f"./{text}" if text.startswith(("=", "+", "-", "@")) else text
