"""Open an ONNX model for inference: checked first, on the CPU, and never with more memory than a limit."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from maskwatch.errors import ModelError, OptionError
from maskwatch.files import read_bytes
from maskwatch.onnx_file import Tensor, check_signature, read_onnx

CPU = "CPUExecutionProvider"
DEVICES = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""What a network can run on, and what onnxruntime calls it."""
_WHEELS = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml", "openvino": "onnxruntime-openvino"}
USUAL_MEMORY_BYTES = 4 * 2**30
_arena_lock = threading.Lock()
_arena_is_ready = False


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs that a kind of model must have; None leaves the outputs open."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A model that is ready: its session, its metadata, and the SHA-256 of its file."""

    session: onnxruntime.InferenceSession
    metadata: Mapping[str, str]
    sha256: str


def read_model_file(path: Path, most_bytes: int, advice: str = "check the path") -> bytes:
    """The bytes of a model file.

    Raises:
        ModelError: it cannot be read, or is larger than any model of ours.
    """
    try:
        return read_bytes(path, most_bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); {advice}") from error


def open_model(
    data: bytes, name: str, signature: Signature, *, threads: int, providers: Sequence[str] = (CPU,)
) -> OpenModel:
    """Check `data`, then open it on the first of `providers` that can run it.

    Raises:
        ModelError: the check failed, or onnxruntime cannot load it.
    """
    file = read_onnx(data, name)
    check_signature(
        file, name, signature.inputs, file.outputs if signature.outputs is None else signature.outputs
    )
    _limit_memory()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = (
        4  # its errors come as exceptions; on the terminal they would be a second voice
    )
    settings.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = onnxruntime.InferenceSession(data, settings, providers=list(providers))
        metadata = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's errors share no base but Exception
        reason = str(error).splitlines()[0][:300]
        raise ModelError(f"{name}: no ONNX model that can be loaded ({reason}); export it again") from error
    return OpenModel(session, metadata, hashlib.sha256(data).hexdigest())


def providers_of(device: str) -> list[str]:
    """The device asked for, a key of `DEVICES`, and behind it the CPU, as onnxruntime calls them.

    Raises:
        OptionError: this onnxruntime does not bring it.
    """
    provider = DEVICES[device]
    if provider not in onnxruntime.get_available_providers():
        wheel = _WHEELS.get(device)
        way = f"install {wheel} in its place" if wheel else "it comes with onnxruntime on macOS alone"
        raise OptionError(f"device {device!r}: this onnxruntime does not bring it; {way}")
    return list(dict.fromkeys([provider, CPU]))


def most_memory_bytes() -> int:
    """What all models of a process may take for their tensors together: 4 GiB, more on large machines."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return USUAL_MEMORY_BYTES
    return min(machine * 3 // 4, max(USUAL_MEMORY_BYTES, machine // 4))


def _limit_memory() -> None:
    """Let all sessions of this process share one arena that has a limit: no model exhausts a machine."""
    global _arena_is_ready  # noqa: PLW0603 — onnxruntime's environment is one for the process, too
    with _arena_lock:
        if _arena_is_ready:
            return
        info = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        usual = dict.fromkeys(
            ("arena_extend_strategy", "initial_chunk_size_bytes", "max_dead_bytes_per_chunk"), -1
        )
        config = onnxruntime.OrtArenaCfg({"max_mem": most_memory_bytes(), **usual})
        onnxruntime.create_and_register_allocator(info, config)
        _arena_is_ready = True
