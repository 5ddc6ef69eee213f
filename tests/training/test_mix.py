"""Averages of checkpoints: weighted by their shares, of one layout only."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from maskwatch import TrainingError
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import NetworkConfig, TrainConfig
from maskwatch.training.mix import mix
from maskwatch.training.network import MaskNet
from maskwatch.training.run import start_from


def saved(path, *, fill: float, network: NetworkConfig | None = None) -> None:
    config = TrainConfig(network=network or NetworkConfig(context_blocks=(0, 0, 0), label_blocks=0))
    state = MaskNet(config.network).state_dict()
    average = {
        name: torch.full_like(value, fill) if value.is_floating_point() else value
        for name, value in state.items()
    }
    Checkpoint(config, int(fill), average).save(path)


def test_shares_weigh_and_need_not_add_up_to_one(tmp_path):
    saved(tmp_path / "a.pt", fill=1.0)
    saved(tmp_path / "b.pt", fill=5.0)
    mixed = mix({tmp_path / "a.pt": 3.0, tmp_path / "b.pt": 1.0})
    assert mixed.step == 5
    for name, value in mixed.average.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.full_like(value, 2.0), msg=name)
    mixed.averaged()


def test_a_network_without_blocks_mixes_with_one_that_grew_them(tmp_path):
    """As identities: the mean with a share of nearly 1 for the smaller answers as the smaller does."""
    torch.manual_seed(0)
    small = MaskNet(NetworkConfig(context_blocks=(0, 0, 0), label_blocks=0)).eval()
    grown = MaskNet(NetworkConfig(context_blocks=(0, 2, 1), label_blocks=1)).eval()
    for name, value in grown.state_dict().items():
        if value.is_floating_point():
            value.copy_(small.state_dict().get(name, torch.rand_like(value)))
    paths = [tmp_path / "small.pt", tmp_path / "grown.pt"]
    for path, network in zip(paths, (small, grown), strict=True):
        Checkpoint(TrainConfig(network=network.config), 1, network.state_dict()).save(path)
    mixed = mix({paths[0]: 1.0, paths[1]: 1e-7})
    assert mixed.config.network == grown.config
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        for ours, theirs in zip(mixed.averaged()(picture), small(picture), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(grown(picture).labels, small(picture).labels, atol=1e-2)


def test_a_narrow_stem_mixes_with_a_wide_one(tmp_path):
    """One starts from the other and answers the same, and so does their mean; a second stage comes along."""
    torch.manual_seed(0)
    layout = NetworkConfig(context_blocks=(0, 0, 0), label_blocks=0, stride_4=False)
    narrow = MaskNet(replace(layout, refiner_blocks=2, refiner_features=8)).eval()
    paths = [tmp_path / "narrow.pt", tmp_path / "wide.pt"]
    Checkpoint(TrainConfig(network=narrow.config), 1, narrow.state_dict()).save(paths[0])
    wide = MaskNet(replace(layout, stem_channels=32)).eval()
    start_from(wide, paths[0])
    Checkpoint(TrainConfig(network=wide.config), 1, wide.state_dict()).save(paths[1])
    mixed = mix(dict.fromkeys(paths, 0.5))
    assert mixed.config.network == replace(wide.config, refiner_blocks=2, refiner_features=8)
    assert {name for name in mixed.average if name.startswith("refiner.")}
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        for ours, theirs in zip(mixed.averaged()(picture), narrow(picture), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_what_does_not_mix_is_refused(tmp_path):
    saved(tmp_path / "a.pt", fill=1.0)
    saved(tmp_path / "b.pt", fill=1.0, network=NetworkConfig(stride_4=False, context_blocks=(0, 0, 0)))
    with pytest.raises(TrainingError, match=r"b\.pt: another layout than .*a\.pt"):
        mix({tmp_path / "a.pt": 1.0, tmp_path / "b.pt": 1.0})
    with pytest.raises(TrainingError, match="shares must be above 0"):
        mix({tmp_path / "a.pt": 0.0})


def test_the_widest_margin_is_kept(tmp_path):
    layout = NetworkConfig(context_blocks=(0, 0, 0), label_blocks=0)
    saved(tmp_path / "tight.pt", fill=1.0, network=layout)
    saved(tmp_path / "roomy.pt", fill=1.0, network=replace(layout, near_margin=0.1))
    assert mix({tmp_path / "tight.pt": 0.9, tmp_path / "roomy.pt": 0.1}).config.network.near_margin == 0.1


def test_the_command_writes_a_model_and_says_what_is_wrong(tmp_path, coco_folder):
    saved(tmp_path / "a.pt", fill=0.01)
    command = [sys.executable, "-m", "maskwatch.training.mix", coco_folder, "-o", tmp_path / "out"]
    given = ["--near-margin", "0.05", f"{tmp_path / 'a.pt'}=1"]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()
    written = Checkpoint.load(tmp_path / "out" / "small.pt")
    assert (written.step, written.config.network.near_margin) == (0, 0.05)
    missing = tmp_path / "missing.pt"
    done = subprocess.run([*command, f"{missing}=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {missing}: no checkpoint of maskwatch")
    assert "Traceback" not in done.stderr
