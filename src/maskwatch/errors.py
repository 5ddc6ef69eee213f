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
    """Base of all errors raised on purpose; its text is fit for an end user.

    Examples:
        >>> from maskwatch import Detector, MaskwatchError
        >>> try:
        ...     Detector().detect("nobody.jpg")
        ... except MaskwatchError as error:
        ...     print(error)
        nobody.jpg: cannot be read (No such file or directory); check the path
    """


class ImageError(MaskwatchError):
    """A picture cannot be read or has a shape or type that is no picture's.

    Examples:
        >>> from maskwatch import Detector, ImageError
        >>> try:
        ...     Detector().detect(b"no picture")
        ... except ImageError as error:
        ...     print(str(error)[:44])
        bytes: is no picture that can be decoded (JP
    """


class SourceError(MaskwatchError):
    """A file, folder or stream cannot be opened or gives no frames.

    Examples:
        >>> from maskwatch import SourceError
        >>> issubclass(SourceError, Exception)
        True
    """


class ModelError(MaskwatchError):
    """A model file is missing, damaged or lacks maskwatch's metadata card.

    Examples:
        >>> from maskwatch import Detector, ModelError
        >>> try:
        ...     Detector("smal")
        ... except ModelError as error:
        ...     print(str(error).rpartition("; ")[2])
        did you mean 'small'?
    """


class DatasetError(MaskwatchError):
    """Annotations cannot be read or do not fit their pictures.

    Examples:
        >>> from pathlib import Path
        >>> from maskwatch import DatasetError
        >>> from maskwatch.datasets import read_coco
        >>> try:
        ...     read_coco(Path("nothing.json"))
        ... except DatasetError as error:
        ...     print(str(error)[:26])
        nothing.json: no such file
    """


class OptionError(MaskwatchError, ValueError):
    """An option has a value outside what can work.

    Examples:
        >>> from maskwatch import DetectOptions, OptionError
        >>> try:
        ...     DetectOptions(score_threshold=50)
        ... except OptionError as error:
        ...     print(error)
        score_threshold must lie between 0 and 1, not 50
    """


class MissingExtraError(MaskwatchError, ImportError):
    """An optional dependency is missing; the message names the extra to install.

    Examples:
        >>> from maskwatch import MissingExtraError
        >>> print(MissingExtraError.for_extra("training", "PyTorch", "train"))
        training needs PyTorch: pip install 'maskwatch[train]'
    """

    @classmethod
    def for_extra(cls, task: str, package: str, extra: str) -> MissingExtraError:
        """Word the error for `task` that needs `package`, which `maskwatch[extra]` brings."""
        return cls(f"{task} needs {package}: pip install 'maskwatch[{extra}]'")


class RejectedError(MaskwatchError):
    """A receiver of events refuses them for good; sending them again would change nothing.

    Examples:
        >>> from maskwatch import MaskwatchError, RejectedError
        >>> issubclass(RejectedError, MaskwatchError)
        True
    """


class ServiceError(MaskwatchError):
    """A maskwatch server refuses a request, or cannot be reached.

    The server raises it, sends it as problem details (RFC 9457), and the client raises it again.

    Attributes:
        status: the HTTP status; None where no server answered.
        retry_after_s: after so many seconds the same request may succeed; None: it will not.

    Examples:
        >>> from maskwatch import Client, ServiceError
        >>> try:
        ...     with Client("http://127.0.0.1:9") as client:  # nobody listens there
        ...         client.detect("people.jpg")
        ... except ServiceError as error:
        ...     print(error.status, error.retry_after_s)
        None None
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class TrainingError(MaskwatchError):
    """A training run cannot start or go on.

    Examples:
        >>> from maskwatch import MaskwatchError, TrainingError
        >>> issubclass(TrainingError, MaskwatchError)
        True
    """
