from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwatch import TrainingError
from maskwatch.training.config import NetworkConfig
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
    """Block by block as Keras', once strided convolutions are padded at the right and the bottom as there."""
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

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            if module is not network.backbone.conv:
                module.register_forward_pre_hook(lambda _, x: functional.pad(x[0], (0, 1, 0, 1)))
    with torch.no_grad():
        x = functional.pad(picture.flip(-1).permute(0, 3, 1, 2) / 127.5 - 1, (0, 1, 0, 1))
        x = functional.relu6(network.backbone.norm(network.backbone.conv(x)))
        for stage in network.backbone.stages:
            x = stage(x)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1), expected, atol=2e-3)


def test_mobilenet_weights_fit_mobilenet_alone(tmp_path):
    path = tmp_path / "x.weights.h5"
    with pytest.raises(TrainingError, match="backbone is another one"):
        load_mobilenet(MaskNet(NetworkConfig()), path)
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="no weights of Keras' MobileNetV2"):
        load_mobilenet(MaskNet(NetworkConfig(backbone="mobilenet_v2")), path)
