"""The frozen backbone's part of the work, in onnxruntime: pictures to features, varied or not."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from maskwatch.codec import read_picture
from maskwatch.frames import Image
from maskwatch.training.classifier.augment import resized, vary
from maskwatch.training.classifier.config import ClassifierConfig
from maskwatch.training.classifier.convert import build
from maskwatch.training.classifier.keras_file import KerasFile

CACHE_BYTES = 2 * 2**30
AT_ONCE = 16

Features = npt.NDArray[np.float32]


class PictureStore:
    """Pictures at the network's size, kept in memory as long as there is room."""

    def __init__(self, paths: Sequence[Path], size_px: int) -> None:
        self._paths = list(paths)
        self._size_px = size_px
        self._kept: dict[int, Image] = {}
        self._room = CACHE_BYTES // (3 * size_px * size_px)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> Image:
        """The picture, square.

        Raises:
            ImageError: it cannot be read any more.
        """
        kept = self._kept.get(row)
        if kept is not None:
            return kept
        image = resized(read_picture(self._paths[row], needed_side=2 * self._size_px).image, self._size_px)
        with self._lock:
            if len(self._kept) < self._room:
                self._kept[row] = image
        return image


class FrozenBackbone:
    """Runs the backbone on many pictures, several batches at a time."""

    def __init__(self, pooled: KerasFile, threads: int = 0) -> None:
        self._graph = build(pooled, output="features").SerializeToString()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            self._graph, settings, providers=["CPUExecutionProvider"]
        )
        self._threads = threads or os.cpu_count() or 1

    @property
    def digest(self) -> str:
        """SHA-256 of the graph: other weights, other features."""
        return hashlib.sha256(self._graph).hexdigest()

    def features(
        self,
        pictures: PictureStore,
        rows: Sequence[int],
        config: ClassifierConfig,
        *,
        epoch: int | None = None,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> Features:
        """(n, d) features of the pictures at `rows`; varied for `epoch`, or as they are for None.

        How a picture is varied depends on the seed, the epoch and the picture alone.
        """
        parts = [list(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)]

        def work(part: list[int]) -> Features:
            images = np.stack([_seen(pictures, row, config, epoch) for row in part])
            return np.asarray(self._session.run(["features"], {"images": images})[0], dtype=np.float32)

        results, done = [], 0
        with ThreadPoolExecutor(self._threads) as pool:
            for part, result in zip(parts, pool.map(work, parts), strict=True):
                results.append(result)
                done += len(part)
                report(done, len(rows))
        return np.concatenate(results)


def _seen(pictures: PictureStore, row: int, config: ClassifierConfig, epoch: int | None) -> Image:
    if epoch is None or not config.augment:
        return pictures[row]
    return vary(pictures[row], config, np.random.default_rng((config.seed, epoch, row)))


def plain_features(
    backbone: FrozenBackbone,
    pictures: PictureStore,
    config: ClassifierConfig,
    cache: Path,
    key: str,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Features:
    """Features of all pictures as they are, from `cache` where it was made of the same things."""
    mark = hashlib.sha256(f"{backbone.digest} {key} {config.size_px}".encode()).hexdigest()
    if cache.is_file():
        try:
            with np.load(cache, allow_pickle=False) as stored:
                if str(stored["mark"]) == mark:
                    return np.asarray(stored["features"], dtype=np.float32)
        except (OSError, ValueError, KeyError, EOFError):
            pass  # cut off while it was written: compute it anew
    found = backbone.features(pictures, range(len(pictures)), config, report=report)
    partial = cache.with_name("partial-" + cache.name)
    np.savez(partial, features=found, mark=np.array(mark))
    partial.replace(cache)
    return found
