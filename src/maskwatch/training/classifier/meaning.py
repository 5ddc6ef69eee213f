"""What the classes of a classifier mean in maskwatch's own labels."""

from __future__ import annotations

from maskwatch.datasets import label_index
from maskwatch.errors import OptionError
from maskwatch.labels import LABELS


def class_labels(classes: tuple[str, ...], labels: dict[str, str] | None) -> tuple[str, ...]:
    """Our label for each class: told by `labels`, or by the class's own name, or "".

    Raises:
        OptionError: `labels` names a class that is not there, or a label that is none of ours.
    """
    labels = labels or {}
    strangers = sorted(set(labels) - set(classes))
    if strangers:
        raise OptionError(f"--label {strangers[0]}=…: no such class; there are {', '.join(classes)}")
    chosen = []
    for name in classes:
        index = label_index(labels.get(name, name))
        if name in labels and index is None:
            raise OptionError(f"--label {name}={labels[name]}: no label; choose among {', '.join(LABELS)}")
        chosen.append("" if index is None else LABELS[index])
    return tuple(chosen)
