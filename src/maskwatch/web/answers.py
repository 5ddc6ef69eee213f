"""What the server says of pictures, in the one JSON form that client, page and command share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskwatch.errors import MaskwatchError
from maskwatch.model_card import ModelCard
from maskwatch.summary import Summary
from maskwatch.web.batching import Look
from maskwatch.web.problems import problem_of
from maskwatch.web.uploads import Upload


def answer_of(
    card: ModelCard, uploads: Sequence[Upload], looks: Sequence[Look | MaskwatchError]
) -> dict[str, Any]:
    """The answer about `uploads`, as a JSON object.

    A picture that could not be looked at has a `problem` and is counted as failed; the others go on.
    """
    images: list[dict[str, Any]] = []
    total = Summary()
    for upload, look in zip(uploads, looks, strict=True):
        if isinstance(look, MaskwatchError):
            images.append({"name": upload.name, "problem": problem_of(look)})
            total = total.add_failure()
            continue
        total = total.add(look.detections)
        images.append(
            {
                "name": upload.name,
                "width": look.size_wh[0],
                "height": look.size_wh[1],
                "faces": look.detections.to_dicts(),
                "summary": Summary().add(look.detections).to_dict(),
            }
        )
    return {"model": short_card(card), "images": images, "summary": total.to_dict()}


def short_card(card: ModelCard) -> dict[str, str]:
    """Which model answered."""
    return {"name": card.name, "version": card.version, "sha256": card.sha256}
