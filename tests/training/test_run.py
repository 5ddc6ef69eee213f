"""The loop, its checkpoints, and a whole run down to the ONNX file."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwatch import DetectOptions, Detector, OptionError, TrainingError
from maskwatch.boxes import iou
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.training.calibration import Calibration
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import NetworkConfig, TrainConfig
from maskwatch.training.export import COARSE_LEAST_PX, export_onnx
from maskwatch.training.loop import learning_rate, mixed_precision, train
from maskwatch.training.network import MaskNet, decode, priors, roomier
from maskwatch.training.pictures import PictureCache
from maskwatch.training.plot import plot_run
from maskwatch.training.run import RunPaths, card_of, run, split_holdout, start_from
from maskwatch.training.samples import SampleMaker
from maskwatch.training.teacher import teacher_of


def maker(images, config):
    return SampleMaker(images, config, PictureCache(2**28))


@pytest.mark.parametrize(
    ("able", "is_used"),
    [({"avx2": True, "avx512_bw": False}, False), ({"avx512_bw": True}, True), ({"bf16": True}, True)],
)
def test_half_the_digits_only_where_the_processor_can(monkeypatch, able, is_used):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    layer, ones = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with mixed_precision(TrainConfig(precision="bf16"), torch.device("cpu")):
        assert (layer(ones).dtype == torch.bfloat16) == is_used
    with mixed_precision(TrainConfig(), torch.device("cpu")):
        assert layer(ones).dtype == torch.float32


def test_a_run_from_folder_to_model(coco_folder, tiny_config, tmp_path):
    paths = RunPaths(tmp_path)
    seen = []
    model = run([coco_folder], paths, tiny_config, report_holdout=lambda step, figures: seen.append(step))
    assert seen == [4]
    assert TrainConfig.from_file(paths.config) == tiny_config
    detector = Detector(model)
    assert detector.card.parameters == MaskNet(tiny_config.network).parameter_count()
    assert detector.card.strides == tiny_config.network.strides
    assert len(paths.curves.read_text().splitlines()) == 2
    plot_run(paths.curves, paths.holdout, paths.plot)
    assert paths.plot.read_bytes().startswith(b"\x89PNG")
    assert paths.small_checkpoint.stat().st_size < 3 * 2**20


def test_a_run_goes_on_where_it_stopped(training_images, tiny_config, tmp_path):
    steps = []
    for total in (3, 5):
        config = dataclasses.replace(tiny_config, steps=total)
        train(config, maker(training_images, config), tmp_path, evaluate=lambda _, step: steps.append(step))
    assert steps == [3, 5]
    checkpoint = Checkpoint.load(tmp_path / "last.pt")
    assert checkpoint.step == 5
    assert checkpoint.optimizer["state"][0]["step"] == 5


def test_an_interrupted_run_keeps_what_it_learnt(training_images, tiny_config, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    config = dataclasses.replace(tiny_config, evaluate_every_steps=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, maker(training_images, config), tmp_path, evaluate=interrupt)
    assert Checkpoint.load(tmp_path / "last.pt").step == 2


def test_a_loss_that_is_not_finite_stops_the_run(training_images, tiny_config, tmp_path):
    def poison(network):
        with torch.no_grad():
            network.backbone.stem.conv.weight.fill_(torch.nan)

    with pytest.raises(TrainingError, match="the loss became nan at step 0"):
        train(tiny_config, maker(training_images, tiny_config), tmp_path, start=poison)


def test_training_learns_the_faces_it_sees(training_images, tiny_config, tmp_path):
    config = dataclasses.replace(
        tiny_config,
        steps=250,
        sides=(64,),
        side_shares=(1,),
        pixels_per_step=2 * 64**2,
        learning_rate=4e-3,
    )
    losses = []
    train(
        config,
        maker(training_images, config),
        tmp_path,
        report=lambda progress: losses.append(progress.total),
    )
    assert losses[-1] < 0.8 * losses[0]
    curve = np.genfromtxt(tmp_path / "curves.csv", delimiter=",", names=True)
    np.testing.assert_allclose(curve["total"], losses, rtol=1e-4)


def test_another_network_than_the_checkpoints_is_refused(training_images, tiny_config, tmp_path):
    train(tiny_config, maker(training_images, tiny_config), tmp_path)
    other = dataclasses.replace(tiny_config, network=NetworkConfig(stride_4=False))
    with pytest.raises(TrainingError, match="of another network"):
        train(other, maker(training_images, other), tmp_path)
    Checkpoint.load(tmp_path / "last.pt").small().save(tmp_path / "last.pt")
    with pytest.raises(TrainingError, match="small checkpoint cannot be resumed"):
        train(tiny_config, maker(training_images, tiny_config), tmp_path)


def test_starting_from_our_own_checkpoint(tiny_config, tmp_path):
    first = MaskNet(tiny_config.network)
    Checkpoint(tiny_config, 7, first.state_dict()).save(tmp_path / "small.pt")
    second = MaskNet(tiny_config.network)
    start_from(second, tmp_path / "small.pt")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    third = MaskNet(NetworkConfig(stride_4=False, context_blocks=(0, 0, 0), label_blocks=0))
    assert 0 < start_from(third, tmp_path / "small.pt") < len(first.state_dict())


def test_a_large_networks_small_checkpoint_keeps_a_byte_a_weight(tiny_config, tmp_path):
    network = MaskNet(NetworkConfig(backbone="mobilenet_v2"))
    state = network.state_dict()
    config = dataclasses.replace(tiny_config, network=network.config)
    Checkpoint(config, 7, state, state, {}).small().save(tmp_path / "small.pt")
    assert (tmp_path / "small.pt").stat().st_size < 3 * 2**20
    kept = Checkpoint.load(tmp_path / "small.pt").averaged().state_dict()
    assert all(
        kept[name].shape == value.shape and kept[name].dtype == value.dtype for name, value in state.items()
    )
    for name, value in state.items():
        step = value.abs().max() / 127 if value.ndim > 1 else 0.0
        assert (kept[name] - value).abs().max() <= step


def test_a_student_learns_from_a_teacher(training_images, tiny_config, tmp_path):
    teacher = NetworkConfig(backbone="mobilenet_v2", channels=32, context_blocks=(0, 0, 0))
    state = MaskNet(teacher).state_dict()
    Checkpoint(dataclasses.replace(tiny_config, network=teacher), 7, state).save(tmp_path / "teacher.pt")
    strides = tiny_config.network.strides
    seen = []
    train(
        tiny_config,
        maker(training_images, tiny_config),
        tmp_path,
        teachers=[teacher_of(tmp_path / "teacher.pt", strides)],
        report=lambda progress: seen.append(progress.teacher),
    )
    assert seen[-1] > 0
    with pytest.raises(TrainingError, match="but the student has"):
        teacher_of(tmp_path / "teacher.pt", (2, *strides))


def test_a_student_of_fewer_levels_learns_from_the_coarser_ones(training_images, tiny_config, tmp_path):
    layout = NetworkConfig(stride_4=False, context_blocks=(0, 0, 0))
    config = dataclasses.replace(tiny_config, network=layout)
    finer = dataclasses.replace(layout, stride_4=True, refiner_blocks=4)
    state = MaskNet(finer).state_dict()
    Checkpoint(dataclasses.replace(config, network=finer), 7, state).save(tmp_path / "teacher.pt")
    teacher = teacher_of(tmp_path / "teacher.pt", layout.strides)
    assert teacher.refiner is None
    seen = []
    train(
        config,
        maker(training_images, config),
        tmp_path,
        teachers=[teacher],
        report=lambda progress: seen.append(progress.teacher),
    )
    assert seen[-1] > 0


def test_damaged_checkpoints_are_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"zip?")
    with pytest.raises(TrainingError, match=r"last\.pt: no checkpoint of maskwatch"):
        Checkpoint.load(tmp_path / "last.pt")


def test_the_holdout_depends_on_names_alone(training_images):
    images = [image.labelled for image in training_images]
    training, holdout = split_holdout(images, 0.3)
    assert len(training) + len(holdout) == len(images)
    again, _ = split_holdout(images[::-1], 0.3)
    assert {image.path for image in again} == {image.path for image in training}


def test_a_set_without_faces_is_all_for_training(training_images):
    people = [image.labelled for image in training_images]
    nothing = np.zeros(0, bool)
    empty = [
        LabelledImage(Path(f"{number}.jpg"), (64, 64), Detections.empty(), nothing, set_name="faceless")
        for number in range(50)
    ]
    training, holdout = split_holdout([*people, *empty], 0.3)
    assert {image.path for image in empty} <= {image.path for image in training}
    assert [image.path for image in holdout] == [image.path for image in split_holdout(people, 0.3)[1]]


def test_learning_rate_warms_up_and_falls():
    config = TrainConfig(steps=1000, warmup_steps=100, learning_rate=1.0, final_learning_rate_share=0.1)
    rates = [learning_rate(config, step) for step in (0, 49, 100, 550, 999)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 0.55, 0.1], abs=0.01)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stepz": 1}, "unknown training option stepz"),
        ({"network": {"depth": 1}}, r"unknown training option network\.depth"),
        ({"network": {"backbone": "vgg"}}, "yunet or mobilenet_v2"),
        ({"network": {"channels": 32}}, "must be 64"),
        ({"network": {"stem_channels": 24}}, "a multiple of 16, not 24"),
        ({"network": {"near_margin": 1.5}}, "a share, 0 to 1, not 1.5"),
        ({"network": {"refiner_box_features": -1}}, "refiner_box_features is 0 or more, not -1"),
        ({"network": {"refiner_features": 0}}, "refiner_features is 1 or more, not 0"),
        ({"steps": 0}, "at least 1"),
        ({"assigner": "atss"}, "simota or task_aligned, not 'atss'"),
        ({"objectness_loss": "focal"}, "cross_entropy or quality_focal or varifocal, not 'focal'"),
        ({"precision": "fp16"}, "precision is fp32 or bf16, not 'fp16'"),
        ({"sides": [100], "side_shares": [1]}, "no multiples of stride 32"),
        ({"sides": [64], "side_shares": [1, 2]}, "same length"),
    ],
)
def test_wrong_options_are_named(values, words, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    with pytest.raises(OptionError, match=words):
        TrainConfig.from_file(path)


def reference_suppression(xyxy, scores, score_threshold, iou_threshold):
    """Greedy non-maximum suppression of one picture, label-blind: kept rows, best first."""
    best = scores.max(axis=1)
    order = [row for row in np.argsort(-best, kind="stable") if best[row] > score_threshold]
    kept: list[int] = []
    for row in order:
        if all(iou(xyxy[row : row + 1], xyxy[k : k + 1])[0, 0] <= iou_threshold for k in kept):
            kept.append(row)
    return kept


def look(network, bgr):
    """Boxes (B, P, 4) and scores (B, P, 3) of one pass, computed by PyTorch."""
    outputs = network(bgr)
    boxes = decode(outputs.boxes, priors(*bgr.shape[2:], network.config.strides))
    boxes = roomier(boxes, network.config.near_margin)
    scores = (outputs.labels.sigmoid() * outputs.objectness[..., None].sigmoid()).sqrt()
    return boxes.numpy(), scores.numpy()


@pytest.fixture(
    scope="module",
    params=[
        NetworkConfig(),
        NetworkConfig(near_margin=0.25),
        NetworkConfig(backbone="mobilenet_v2", channels=32, context_blocks=(0, 1, 0)),
    ],
    ids=lambda config: f"{config.backbone}-{config.near_margin}",
)
def exported(request, tmp_path_factory):
    """A network with random statistics, and its ONNX file."""
    torch.manual_seed(0)
    network = MaskNet(request.param).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    with torch.no_grad():  # batch norm on real activations, so that outputs are of a sane size
        network.train()
        for _ in range(20):
            network(torch.rand(2, 3, 128, 128) * 255)
        network.eval()
        for head in (*network.heads, network.slim_head):
            head.box.depthwise.bias[4:].fill_(0.0)
            head.label.depthwise.bias.fill_(0.0)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(network, card_of(network, Calibration()), path)
    return network, path


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 200, 136), (3, 24, 320)])
@pytest.mark.parametrize("channels", [3, 4])
def test_the_exported_graph_gives_what_the_network_gives(exported, shape, channels):
    import onnxruntime

    network, path = exported
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, channels), dtype=np.uint8)
    bgr = torch.from_numpy(images[..., 2::-1].copy()).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        fine, coarse = look(network, bgr), look(network, functional.avg_pool2d(bgr, 4))
    boxes = np.concatenate([fine[0], coarse[0] * 4], axis=1)
    large = np.prod(coarse[0][..., 2:] - coarse[0][..., :2], axis=-1) * 16 >= COARSE_LEAST_PX**2
    scores = np.concatenate([fine[1], coarse[1] * large[..., None]], axis=1)
    score_threshold = float(np.sort(scores.max(axis=2), axis=None)[-301:-299].mean())
    session = onnxruntime.InferenceSession(path)
    index, xyxy, label_scores = session.run(
        None,
        {
            "images": images,
            "score_threshold": np.array([score_threshold], np.float32),
            "iou_threshold": np.array([0.4], np.float32),
            "max_detections": np.array([10_000], np.int64),
        },
    )
    assert len(index) > 10
    for picture in range(shape[0]):
        kept = reference_suppression(boxes[picture], scores[picture], score_threshold, 0.4)
        own = np.flatnonzero(index == picture)
        assert len(own) == len(kept)
        pairs = iou(boxes[picture][kept], xyxy[own]).argmax(axis=1)  # equal scores may change places
        assert len(set(pairs)) == len(kept)
        np.testing.assert_allclose(xyxy[own][pairs], boxes[picture][kept], rtol=1e-3, atol=0.02)
        np.testing.assert_allclose(label_scores[own][pairs], scores[picture][kept], atol=1e-4)


def test_the_exported_file_is_small_and_whole(exported):
    import onnx

    network, path = exported
    assert path.stat().st_size <= 4.4 * network.parameter_count() + 60_000
    assert network.config.backbone != "yunet" or path.stat().st_size <= 1_500_000
    model = onnx.load(str(path), load_external_data=False)
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    found = Detector(path, DetectOptions(score_threshold=0.9)).detect(np.zeros((100, 50, 3), np.uint8))
    assert len(found) >= 0


def test_calibration_moves_scores_and_threshold_together(exported, tmp_path, astronaut):
    """The same faces in the same order, with scores as `Calibration.apply` gives them."""
    network, path = exported
    calibration = Calibration(scale=1.7, shift=-0.6, score_threshold=0.25)
    export_onnx(network, card_of(network, calibration), tmp_path / "c.onnx", calibration)
    raw = Detector(path, DetectOptions(score_threshold=0.3)).detect(astronaut)
    threshold = float(calibration.apply(np.array([0.3]))[0])
    given = Detector(tmp_path / "c.onnx", DetectOptions(score_threshold=threshold)).detect(astronaut)
    assert len(raw) == len(given) > 0
    np.testing.assert_allclose(given.xyxy, raw.xyxy, atol=1e-3)
    np.testing.assert_allclose(given.label_scores, calibration.apply(raw.label_scores), atol=1e-4)
    assert Detector(tmp_path / "c.onnx").card.score_threshold == 0.25
