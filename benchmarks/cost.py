"""What each model costs: bytes, parameters, multiplications, memory, start, and how near the limit it runs.

A peer's multiply-accumulates are counted in the convolutions of its file, at the size its authors
feed it; ours at 640×480. The limit is what one core reaches on a large matrix product.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import numpy_helper

from benchmarks.peers import cv2_ssd
from maskwatch.detector import DEFAULT_MODEL, packaged_models

FRAME_HW = (480, 640)
ROUNDS = 15
_GEMM_SIDE, _GEMM_ROUNDS = 1536, 8


def run(shared: Path) -> dict[str, Any]:
    """Print one table of costs and one of how near the limit ours runs; gives all figures."""
    peers = shared / "peers"
    figures: dict[str, Any] = {name: of_onnx(*ours(name)) for name in packaged_models()}
    figures["AIZOO 260"] = of_tflite(peers / "aizoo_face_mask_260.tflite")
    for name, file, side in (
        ("Ultra-Light RFB-640 masked", "ultralight_rfb640_masked_face.onnx", FRAME_HW),
        ("YuNet 2023mar", "yunet_2023mar.onnx", (640, 640)),
    ):
        feed = {"input": np.zeros((1, 3, *side), np.float32)}
        figures[name] = of_onnx((peers / file).read_bytes(), feed)
    figures["tutorial's SSD"] = of_ssd(peers)
    print("| model | file, kB | parameters | million MACs |\n|---|---|---|---|")
    for name, one in figures.items():
        cells = (one["bytes"] / 1e3, one["parameters"], one["macs"] / 1e6)
        words = ("–" if np.isnan(cell) else f"{cell:,.0f}" for cell in cells)
        print(f"| {name} | {' | '.join(words)} |")
    figures["limit"] = near_the_limit()
    figures["start"] = start()
    return figures


def ours(name: str) -> tuple[bytes, dict[str, npt.NDArray[Any]]]:
    """One packaged model's bytes, and inputs for an empty 640×480 picture."""
    return packaged_models()[name].read_bytes(), {
        "images": np.zeros((1, *FRAME_HW, 3), np.uint8),
        "score_threshold": np.array([0.4], np.float32),
        "iou_threshold": np.array([0.45], np.float32),
        "max_detections": np.array([100], np.int64),
    }


def of_onnx(data: bytes, feed: dict[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Bytes, parameters and multiply-accumulates of an ONNX file for one set of inputs."""
    model = onnx.load_model_from_string(data)
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    del model.graph.output[:]
    for node in convolutions:
        model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, feed)
    macs = sum(
        result.size * float(np.prod(weights[node.input[1]].shape[1:]))
        for node, result in zip(convolutions, results, strict=True)
    )
    unique = {name for node in convolutions for name in node.input[1:]}
    return {
        "bytes": float(len(data)),
        "parameters": float(sum(weights[name].size for name in unique if name in weights)),
        "macs": macs,
    }


def of_tflite(path: Path) -> dict[str, float]:
    """The same of a TFLite file at its own size."""
    net = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    net.allocate_tensors()
    shapes = {entry["index"]: entry["shape"] for entry in net.get_tensor_details()}
    parameters = macs = 0.0
    for op in net._get_ops_details():  # noqa: SLF001 — the only way to the graph
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        _, kernel, bias = (shapes[index] for index in op["inputs"][:3])
        out = shapes[op["outputs"][0]]
        taps = np.prod(kernel[1:3]) if op["op_name"].startswith("DEPTH") else np.prod(kernel[1:])
        macs += float(np.prod(out) * taps)
        parameters += float(np.prod(kernel) + np.prod(bias))
    return {"bytes": float(path.stat().st_size), "parameters": parameters, "macs": macs}


def of_ssd(peers: Path) -> dict[str, float]:
    """The same of OpenCV's SSD, as OpenCV counts it (two operations a MAC)."""
    path = peers / "opencv_face_detector_uint8.pb"
    net = cv2_ssd(peers)
    try:
        operations = float(net.getFLOPS([[1, 3, 300, 300]], [5]))
    except Exception:  # noqa: BLE001 — OpenCV's new engine does not count
        operations = float("nan")
    return {"bytes": float(path.stat().st_size), "parameters": float("nan"), "macs": operations / 2}


def near_the_limit() -> dict[str, Any]:
    """Latency at 640×480 on one thread over the time its multiplications need at this core's peak."""
    peak = peak_flops()
    figures: dict[str, Any] = {"peak_gflops": peak / 1e9}
    print(f"\none core's peak on a matrix product: {peak / 1e9:.0f} GFLOP/s")
    for name in packaged_models():
        data, feed = ours(name)
        session = one_thread(data)
        best_s = min(_timed(partial(session.run, None, feed)) for _ in range(ROUNDS))
        floor_s = 2 * of_onnx(data, feed)["macs"] / peak
        figures[name] = {"ms": best_s * 1e3, "floor_ms": floor_s * 1e3, "ratio": best_s / floor_s}
        print(f"{name} at 640×480: {best_s * 1e3:.2f} ms, {best_s / floor_s:.1f} × its floor")
        print("  " + ", ".join(f"{kind} {share:.0%}" for kind, share in profile(data, feed).items()))
    return figures


def one_thread(data: bytes) -> onnxruntime.InferenceSession:
    """An ONNX file's bytes, ready to run on one thread of the CPU."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])


def profile(data: bytes, feed: dict[str, npt.NDArray[Any]], most: int = 8) -> dict[str, float]:
    """Shares of the run time by kind of operator, depthwise convolutions apart, largest first."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.enable_profiling = 1, True
    settings.profile_file_prefix = "/tmp/maskwatch-profile"
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    for _ in range(ROUNDS):
        session.run(None, feed)
    path = Path(session.end_profiling())
    events = [one for one in json.loads(path.read_text()) if one.get("cat") == "Node"]
    path.unlink()
    spent: dict[str, float] = {}
    for event in events:
        if "_kernel_time" not in event["name"]:
            continue
        kind = event["args"]["op_name"]
        if kind == "Conv" and _is_depthwise(event["args"]):
            kind = "depthwise Conv"
        spent[kind] = spent.get(kind, 0.0) + event["dur"]
    total = sum(spent.values())
    ranked = sorted(spent.items(), key=lambda entry: -entry[1])[:most]
    return {kind: value / total for kind, value in ranked}


def _is_depthwise(args: dict[str, Any]) -> bool:
    """Whether a convolution's kernel has one input channel and it is not the first layer's."""
    shapes = [next(iter(entry.values())) for entry in args.get("input_type_shape", [])]
    return len(shapes) > 1 and len(shapes[1]) == 4 and shapes[1][1] == 1


def peak_flops() -> float:
    """Operations a second of one core on a product of large matrices, in onnxruntime."""
    shape = [_GEMM_SIDE, _GEMM_SIDE]
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    inputs = [value(name, onnx.TensorProto.FLOAT, shape) for name in "ab"]
    graph = onnx.helper.make_graph([node], "gemm", inputs, [value("c", onnx.TensorProto.FLOAT, shape)])
    model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)])
    session = one_thread(model.SerializeToString())
    a = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    best_s = min(_timed(lambda: session.run(None, {"a": a, "b": a})) for _ in range(_GEMM_ROUNDS))
    return 2.0 * _GEMM_SIDE**3 / best_s


def start() -> dict[str, float]:
    """Seconds and resident memory of a fresh process: import, model loaded, first picture judged."""
    code = (
        "import time; t = time.perf_counter()\n"
        "from maskwatch import Detector; import numpy as np; a = time.perf_counter() - t\n"
        "d = Detector(); b = time.perf_counter() - t\n"
        "d.detect(np.zeros((480, 640, 3), np.uint8)); c = time.perf_counter() - t\n"
        # getrusage would name the parent's peak, which a fork takes over
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(a, b, c, peak.split()[1])"
    )
    runs = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        runs.append([float(word) for word in done.stdout.split()])
    best = np.min(runs, axis=0)
    names = ("import_s", "loaded_s", "first_picture_s", "peak_rss_kb")
    figures = dict(zip(names, best.tolist(), strict=True))
    print(
        f"fresh process with {DEFAULT_MODEL}: import {best[0]:.2f} s, model loaded at {best[1]:.2f} s, first "
        f"640×480 picture judged at {best[2]:.2f} s, {best[3] / 1024:.0f} MiB"
    )
    return figures


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
