"""Bare arrays out of an HDF5 file, and nothing else: no other file, no more memory than a limit.

HDF5 lets a link, a data set or a view lie in any other file of the machine, and lets a few bytes stand for
an array of any size. Keras follows all of them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from maskwatch.errors import MissingExtraError, ModelError
from maskwatch.files import check_ordinary

MOST_VALUES: Final = 2**28
"""Numbers that all arrays of a file may hold together: a gibibyte."""
LARGEST_CONFIG_BYTES: Final = 2**24
DAMAGE: Final = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,  # RecursionError and NotImplementedError too
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a file raises that was not written by Keras."""
_MOST_OBJECTS = 100_000
_STATE_MODULES: Final = re.compile(
    r"keras|keras\.(layers|initializers|optimizers(\.schedules)?|regularizers|constraints|losses|metrics)"
    r"|keras\.src\.(backend\.\w+\.)?optimizers(\.\w+)*"  # an optimiser of one backend alone
)
_CLASS: Final = re.compile(r"[A-Z][A-Za-z0-9]*")
_CODE: Final = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})


class StoredArrays:
    """Arrays below one group, read by place; links that lead out of the file are refused.

    Raises:
        ModelError: at a place where there is no such array.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._left = MOST_VALUES

    def read(self, place: str) -> npt.NDArray[np.float32]:
        """The array at `place`, a path of names."""
        found = self._at(place)
        h5py = _h5py()
        if not isinstance(found, h5py.Dataset):
            raise ModelError(f"weights {place}: not there, or no array; save the model again")
        _refuse_outside(found, place)
        self._left -= int(found.size or 0)
        if self._left < 0:
            raise ModelError(
                f"weights {place}: more than {MOST_VALUES:,} numbers in all; that is no model of ours"
            )
        return np.asarray(found, dtype=np.float32)

    def names(self, place: str) -> list[str]:
        """Names in the group at `place`."""
        found = self._at(place)
        if not isinstance(found, _h5py().Group):
            raise ModelError(f"weights {place}: not there, or no group; save the model again")
        return list(found)

    def _at(self, place: str) -> Any:
        at = self._group
        for part in place.split("/"):
            if not isinstance(at, _h5py().Group) or not isinstance(
                at.get(part, getlink=True), _h5py().HardLink
            ):
                raise ModelError(
                    f"weights {place}: a link that leads elsewhere, or nothing; save the model again"
                )
            at = at[part]
        return at


def check_weights_file(path: Path) -> None:
    """Refuse a file of Keras weights in which anything lies elsewhere; for libraries that read it themselves.

    Raises:
        ModelError: it is no HDF5 or `.keras` file, cannot be read, or something in it does.
    """
    h5py = _h5py()
    try:
        check_ordinary(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                weights: Any = io.BytesIO(_weights_in(path, archive))
        elif h5py.is_hdf5(path):
            weights = path
        else:
            raise ModelError(f"{path}: no HDF5 file of weights; take one that Keras wrote (.weights.h5)")
        with h5py.File(weights, "r") as file:
            _check_group(file, str(path))
    except DAMAGE as error:
        raise ModelError(f"{path}: cannot be read as weights ({error}); take another copy") from error


def check_state_file(path: Path) -> None:
    """Refuse a `.keras` file of a training run that holds more than Keras' own layers and optimisers.

    Raises:
        ModelError: it does, or is damaged.
    """
    try:
        check_weights_file(path)
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > LARGEST_CONFIG_BYTES:
                raise ModelError(f"{path}: its layout is too large; delete the run's folder and start again")
            layout = json.loads(archive.read("config.json"))
        foreign = _foreign_class(layout)
    except DAMAGE as error:
        raise ModelError(f"{path}: damaged ({error}); delete the run's folder and start again") from error
    if foreign:
        raise ModelError(f"{path}: holds {foreign}, which is not run; delete the run's folder, start again")


def _weights_in(path: Path, archive: zipfile.ZipFile) -> bytes:
    entry = next((one for one in archive.infolist() if one.filename == "model.weights.h5"), None)
    if entry is None or entry.file_size > 4 * MOST_VALUES:
        raise ModelError(f"{path}: holds no weights, or too many; save the model again")
    return archive.read(entry)


def _check_group(file: Any, name: str) -> None:
    """Walk through all links of a file, each object once."""
    h5py = _h5py()
    left, values, waiting = _MOST_OBJECTS, MOST_VALUES, [("", file)]
    while waiting:
        place, group = waiting.pop()
        for key in group:
            inner = f"{place}/{key}"
            left -= 1
            if left < 0 or not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ModelError(f"{name}: {inner} is a link that leads elsewhere; take another file")
            found = group[key]
            if isinstance(found, h5py.Group):
                waiting.append((inner, found))
                continue
            if isinstance(found, h5py.Dataset):
                _refuse_outside(found, f"{name}: {inner}")
                values -= int(found.size or 0)
            if values < 0:
                raise ModelError(f"{name}: more than {MOST_VALUES:,} numbers; that is no model of ours")


def _refuse_outside(found: Any, name: str) -> None:
    if found.external or found.is_virtual:
        raise ModelError(f"{name}: stored outside the file; save the model again")


def _foreign_class(layout: Any) -> str:
    """What Keras would have to import or run beside its own classes; "" for nothing."""
    waiting = [layout]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        if not isinstance(one, dict):
            continue
        waiting += one.values()
        kind, module = one.get("class_name"), one.get("module")
        if kind in (None, "__keras_tensor__"):
            continue
        is_ours = isinstance(kind, str) and _CLASS.fullmatch(kind) and kind not in _CODE
        if not is_ours or not (module is None or _STATE_MODULES.fullmatch(str(module))):
            return f"{module}.{kind}"
    return ""


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.for_extra("reading Keras files", "h5py", "train") from error
    return h5py
