from pathlib import Path

import pytest
import torch

from maskwatch import TrainingError
from maskwatch.training.config import NetworkConfig
from maskwatch.training.network import MaskNet, decode, load_yunet, priors


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(stride_4=False),
        NetworkConfig(stride_4=False, context_blocks=(0, 0, 0), label_blocks=0),
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
    assert network.parameter_count() <= 350_000


def test_priors_and_decoding():
    prior = priors(16, 24, (8,))
    assert prior.tolist() == [[0, 0, 8], [8, 0, 8], [16, 0, 8], [0, 8, 8], [8, 8, 8], [16, 8, 8]]
    raw = torch.tensor([0.5, 0.5, 0.0, torch.log(torch.tensor(2.0))]).repeat(6, 1)
    torch.testing.assert_close(decode(raw, prior)[4], torch.tensor([8.0, 4.0, 16.0, 20.0]))


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
