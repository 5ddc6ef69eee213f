from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwatch import OptionError, TrainingError
from maskwatch.training.blocks import InvertedResidual
from maskwatch.training.config import NetworkConfig, TrainConfig
from maskwatch.training.network import MaskNet, decode, priors, roomier
from maskwatch.training.warm_start import load_mobilenet, load_yunet


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(wide_context=False, context_blocks=(3, 5, 5)),
        NetworkConfig(stride_4=False),
        NetworkConfig(stride_4=False, stem_channels=32),
        NetworkConfig(stride_4=False, context_blocks=(0, 0, 0), label_blocks=0),
        NetworkConfig(backbone="mobilenet_v2", channels=32, context_blocks=(0, 1, 0)),
    ],
)
@pytest.mark.parametrize("size_hw", [(128, 192), (72, 200), (8, 8)])
def test_outputs_stand_in_the_order_of_the_priors(config, size_hw):
    network = MaskNet(config).eval()
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, *size_hw))
    count = len(priors(*size_hw, config.strides))
    assert outputs.boxes.shape == (2, count, 4)
    assert outputs.objectness.shape == (2, count)
    assert outputs.labels.shape == (2, count, 3)
    assert config.backbone != "yunet" or network.parameter_count() <= 350_000


def test_priors_and_decoding():
    prior = priors(16, 24, (8,))
    assert prior.tolist() == [[0, 0, 8], [8, 0, 8], [16, 0, 8], [0, 8, 8], [8, 8, 8], [16, 8, 8]]
    raw = torch.tensor([0.5, 0.5, 0.0, torch.log(torch.tensor(2.0))]).repeat(6, 1)
    torch.testing.assert_close(decode(raw, prior)[4], torch.tensor([8.0, 4.0, 16.0, 20.0]))


def test_near_boxes_get_room_and_far_ones_none():
    boxes = torch.tensor([[0.0, 0, 32, 32], [10, 10, 74, 74], [0, 0, 200, 50], [0, 0, 400, 100]])
    wider = roomier(boxes, 0.1)
    torch.testing.assert_close(wider[0], boxes[0])
    torch.testing.assert_close(wider[1], boxes[1] + torch.tensor([-3.2, -3.2, 3.2, 3.2]))
    torch.testing.assert_close(wider[2:], boxes[2:] + torch.tensor([[-20.0, -5, 20, 5], [-40, -10, 40, 10]]))
    torch.testing.assert_close(roomier(boxes, 0.0), boxes)


def test_huge_sizes_stay_finite():
    raw = torch.full((1, 4), 1e4)
    assert torch.isfinite(decode(raw, torch.tensor([[0.0, 0.0, 64.0]]))).all()


def test_a_warm_start_finds_faces_at_once(shared, astronaut, face_box):
    """YuNet's weights in our layout give YuNet's box: layout, names and decoding all fit."""
    network = MaskNet(NetworkConfig())
    assert load_yunet(network, shared / "weights" / "yunet_n.pth") >= 184
    picture = torch.from_numpy(astronaut[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        outputs = network.eval()(picture)
    score = (outputs.objectness.sigmoid() * outputs.labels[..., 1].sigmoid()).sqrt()[0]
    best = int(score.argmax())
    box = decode(outputs.boxes[0], priors(512, 512, network.config.strides))[best]
    assert score[best] > 0.9
    torch.testing.assert_close(box, torch.from_numpy(face_box[0]), atol=8, rtol=0)


def test_a_wider_stem_starts_with_the_same_answers(shared):
    """Copies of YuNet's channels, which the next layer takes in part each, and not in like parts."""
    torch.manual_seed(0)
    layouts = [NetworkConfig(stride_4=False, stem_channels=channels) for channels in (16, 48)]
    networks = [MaskNet(layout).eval() for layout in layouts]
    for network in networks:
        assert load_yunet(network, shared / "weights" / "yunet_n.pth") >= 184
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        narrow, wide = (network.backbone(picture) for network in networks)
    for one, other in zip(narrow, wide, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    mixing = networks[1].backbone.stem.unit.pointwise.weight
    assert (mixing[:, :16] != mixing[:, 16:32]).any()


def test_foreign_checkpoints_are_refused(tmp_path: Path):
    network = MaskNet(NetworkConfig())
    path = tmp_path / "x.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="no YuNet checkpoint"):
        load_yunet(network, path)
    torch.save({"state_dict": {"backbone.model0.conv1.weight": torch.zeros(16, 3, 3, 3)}}, path)
    with pytest.raises(TrainingError, match="only 1 tensors fit"):
        load_yunet(network, path)
    torch.save({"state_dict": {"backbone.model0.conv1.weight": torch.zeros(8, 3, 3, 3)}}, path)
    with pytest.raises(TrainingError, match="has shape"):
        load_yunet(network, path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
def test_mobilenet_starts_from_keras_weights(shared, astronaut):
    """Block by block as Keras', which pads strided convolutions at the right and bottom: seen in a mirror."""
    keras = pytest.importorskip("keras")
    weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet_notop.weights.h5"
    network = MaskNet(NetworkConfig(backbone="mobilenet_v2", channels=32)).eval()
    assert load_mobilenet(network, weights) == 51 + 51 * 4  # all but the last convolution and its norm
    original = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    original.load_weights(weights)
    picture = torch.from_numpy(astronaut[:224, 100:324].copy()).float()[None]
    last = original.get_layer("block_16_project_BN").output
    features = keras.Model(original.input, last)(picture.numpy() / 127.5 - 1, training=False)
    expected = keras.ops.convert_to_numpy(features)

    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4:
                weight.copy_(weight.flip(2, 3))
        x = functional.pad(picture.flip(-1).permute(0, 3, 1, 2).flip(2, 3) / 127.5 - 1, (1, 0, 1, 0))
        x = functional.relu6(network.backbone.norm(network.backbone.conv(x)))
        for stage in network.backbone.stages:
            x = stage(x)
        x = x.flip(2, 3)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1), expected, atol=2e-3)


def test_mobilenet_weights_fit_mobilenet_alone(tmp_path):
    path = tmp_path / "x.weights.h5"
    with pytest.raises(TrainingError, match="backbone is another one"):
        load_mobilenet(MaskNet(NetworkConfig()), path)
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="no weights of Keras' MobileNetV2"):
        load_mobilenet(MaskNet(NetworkConfig(backbone="mobilenet_v2")), path)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("frozen", [False, True])
def test_strided_blocks_have_pytorchs_gradients(size, frozen):
    """With a gradient of our own for the depthwise convolution, and norms folded into it where frozen."""
    torch.manual_seed(0)
    block = InvertedResidual(4, 6, stride=2, widen=3).double()
    for norm in (block.expand_norm, block.depthwise_norm, block.project_norm):
        torch.nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        norm.train(not frozen)
    x = torch.randn(2, 4, *size, dtype=torch.double, requires_grad=True)
    wide = functional.relu6(block.expand_norm(block.expand(x)))
    wide = functional.relu6(block.depthwise_norm(block.depthwise(wide)))
    expected = block.project_norm(block.project(wide))
    cotangent = torch.randn_like(expected)
    learnt = [x, *block.parameters()]
    answer = block(x)
    torch.testing.assert_close(answer, expected)
    gradients = (torch.autograd.grad(each, learnt, cotangent) for each in (answer, expected))
    for own, pytorchs in zip(*gradients, strict=True):
        torch.testing.assert_close(own, pytorchs)


def test_frozen_blocks_and_statistics_stay():
    backbone = MaskNet(NetworkConfig(backbone="mobilenet_v2", channels=32)).backbone
    backbone.freeze(2)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.parameters(), 0.1)
    sum(level.mean() for level in backbone.train()(torch.rand(2, 3, 64, 64) * 255)).backward()
    optimizer.step()
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in moved if name.startswith(("conv", "norm", "stages.0.0", "stages.0.1"))}
    learning = {name for name in moved if name.startswith("stages")}
    assert learning
    assert learning <= {name for name, _ in backbone.named_parameters()}  # no running mean
    assert any("adapters" in name and "running_mean" in name for name in moved)


def test_only_mobilenet_has_blocks_to_freeze():
    with pytest.raises(OptionError, match="mobilenet_v2"):
        TrainConfig(frozen_blocks=2)
    with pytest.raises(OptionError, match="between -1 and 17"):
        TrainConfig(network=NetworkConfig(backbone="mobilenet_v2"), frozen_blocks=18)
