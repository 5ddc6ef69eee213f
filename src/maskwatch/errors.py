"""The error tree: everything maskwatch raises on purpose is a `MaskwatchError`.

    MaskwatchError
    ├── ImageError          a picture cannot be read, or is not one
    ├── SourceError         a file, folder or stream gives no frames
    ├── ModelError          a model file is missing, broken or not ours
    ├── DatasetError        labels or pictures of a data set do not fit together
    ├── OptionError         an option has a value that cannot work
    ├── MissingExtraError   an optional dependency is not installed
    ├── RejectedError       a receiver will never take an event
    ├── ServiceError        a maskwatch server refuses a request, or cannot be reached
    └── TrainingError       a training run cannot go on

A message says what happened, to which input, and what to do next, in one sentence.
"""

from __future__ import annotations


class MaskwatchError(Exception):
    """Base of all errors raised on purpose; its text is fit for an end user."""


class ImageError(MaskwatchError):
    """A picture cannot be read or has a shape or type that is no picture's."""


class SourceError(MaskwatchError):
    """A file, folder or stream cannot be opened or gives no frames."""


class ModelError(MaskwatchError):
    """A model file is missing, damaged or lacks maskwatch's metadata card."""


class DatasetError(MaskwatchError):
    """Annotations cannot be read or do not fit their pictures."""


class OptionError(MaskwatchError, ValueError):
    """An option has a value outside what can work."""


class MissingExtraError(MaskwatchError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""

    @classmethod
    def for_extra(cls, task: str, package: str, extra: str) -> MissingExtraError:
        """Word the error for `task` that needs `package`, which `maskwatch[extra]` brings."""
        return cls(f"{task} needs {package}: pip install 'maskwatch[{extra}]'")


class RejectedError(MaskwatchError):
    """A receiver of events refuses them for good; sending them again would change nothing."""


class ServiceError(MaskwatchError):
    """A maskwatch server refuses a request, or cannot be reached.

    The server raises it, sends it as problem details (RFC 9457), and the client raises it again.

    Attributes:
        status: the HTTP status; None where no server answered.
        retry_after_s: after so many seconds the same request may succeed; None: it will not.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class TrainingError(MaskwatchError):
    """A training run cannot start or go on."""
