import pytest
import torch

from maskwatch.training.assign import assign
from maskwatch.training.config import TrainConfig
from maskwatch.training.losses import detection_loss, eiou, objectness_loss, teacher_loss
from maskwatch.training.network import Outputs, decode, outputs_of, priors
from maskwatch.training.samples import Batch
from maskwatch.training.teacher import agreed, at_strides

STRIDES = (8, 16)


def batch(rows, images=2, side=64):
    """`rows`: (picture, box, label, ignore)."""
    return Batch(
        images=torch.zeros(images, side, side, 3, dtype=torch.uint8),
        picture=torch.tensor([row[0] for row in rows], dtype=torch.int64),
        xyxy=torch.tensor([row[1] for row in rows], dtype=torch.float32).reshape(-1, 4),
        label=torch.tensor([row[2] for row in rows], dtype=torch.int64),
        ignore=torch.tensor([row[3] for row in rows], dtype=torch.bool),
    )


def outputs(images=2, side=64):
    """A network that says 16-px boxes everywhere with low scores."""
    prior = priors(side, side, STRIDES)
    boxes = torch.zeros(images, len(prior), 4)
    boxes[..., :2] = 0.5
    boxes[..., 2:] = torch.log(16 / prior[:, 2:3])
    scores = torch.full((images, len(prior)), -4.0), torch.full((images, len(prior), 3), -1.0)
    return Outputs(boxes, *scores), prior


FACE = (20.0, 20.0, 36.0, 36.0)


def test_a_face_is_learnt_by_priors_near_it():
    raw, prior = outputs()
    found = assign(raw, batch([(1, FACE, 0, False)]), prior)
    assert len(found.face) >= 1
    assert (found.picture == 1).all()
    middle = prior[found.prior, :2] + prior[found.prior, 2:] / 2
    assert ((middle - 28).abs() < 2.5 * prior[found.prior, 2:]).all()
    assert found.counted.all()


def test_task_alignment_takes_the_cells_in_the_box_that_fit_it_best():
    raw, prior = outputs(1)
    face = (16.0, 16.0, 48.0, 48.0)
    better = int(((prior[:, :2] == 24).all(dim=1) & (prior[:, 2] == 8)).nonzero())
    raw.boxes[0, better] = torch.tensor([1.0, 1.0, *torch.log(torch.tensor([4.0, 4.0]))])
    found = assign(raw, batch([(0, face, 0, False)], images=1), prior, "task_aligned")
    middle = prior[found.prior, :2] + prior[found.prior, 2:] / 2
    assert better in found.prior
    assert len(found.prior) == 10
    assert ((middle > 16) & (middle < 48)).all()
    tiny = assign(raw, batch([(0, (29.0, 29.0, 31.0, 31.0), 0, False)], images=1), prior, "task_aligned")
    assert len(tiny.prior) == 1  # though no cell's middle lies in it


def test_a_prior_learns_one_face_only():
    raw, prior = outputs(1)
    near = tuple(value + 1 for value in FACE)
    found = assign(raw, batch([(0, FACE, 0, False), (0, near, 1, False)], images=1), prior)
    assert len(found.prior.unique()) == len(found.prior)
    assert set(found.face.tolist()) == {0, 1}


def test_ignored_faces_are_neither_learnt_nor_background():
    raw, prior = outputs(1)
    found = assign(raw, batch([(0, FACE, 0, True)], images=1), prior)
    assert len(found.face) == 0
    middle = prior[:, :2] + prior[:, 2:] / 2
    inside = ((middle > 20) & (middle < 36)).all(dim=1)
    assert (found.counted[0] == ~inside).all()


def test_a_face_inside_an_ignored_one_still_counts():
    raw, prior = outputs(1)
    found = assign(raw, batch([(0, (0, 0, 64, 64), 0, True), (0, FACE, 1, False)], images=1), prior)
    assert found.counted[found.picture, found.prior].all()
    assert found.counted.sum() == len(found.prior)


def test_even_a_face_between_all_cells_gets_a_prior():
    raw, prior = outputs(1)
    assert len(assign(raw, batch([(0, (7.0, 7.0, 9.0, 9.0), 0, False)], images=1), prior).face) >= 1


def test_no_faces_at_all():
    raw, prior = outputs()
    losses = detection_loss(raw, batch([]), prior, TrainConfig())
    assert losses.positives == 0
    assert torch.isfinite(losses.total)
    assert losses.box == 0


def test_box_loss_falls_as_boxes_meet():
    truth = torch.tensor([[10.0, 10.0, 30.0, 30.0]])
    shifts = [40.0, 25.0, 10.0, 3.0, 0.0]
    values = [eiou(truth + shift, truth)[1].item() for shift in shifts]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0, abs=1e-6)
    apart = (truth + 40).requires_grad_()
    eiou(apart, truth)[1].sum().backward()
    assert apart.grad is not None
    assert apart.grad.abs().sum() > 0


def test_iou_value():
    overlap, _ = eiou(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[5.0, 0.0, 15.0, 10.0]]))
    assert overlap.item() == pytest.approx(1 / 3)


def test_the_loss_falls_when_outputs_follow_their_gradient():
    raw, prior = outputs()
    tensors = [tensor.clone().requires_grad_() for tensor in raw]
    faces = batch([(0, FACE, 0, False), (1, (4.0, 8.0, 28.0, 40.0), 2, False)])
    optimizer = torch.optim.Adam(tensors, lr=0.1)
    values = []
    for _ in range(60):
        losses = detection_loss(Outputs(*tensors), faces, prior, TrainConfig())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        values.append(float(losses.total.detach()))
    assert values[-1] < 0.25 * values[0]


def test_objectness_losses():
    logits = torch.tensor([0.0, 2.0, 0.0, -3.0])
    wanted = torch.tensor([0.0, 0.0, 0.8, 0.0])
    chance, entropy = logits.sigmoid(), torch.nn.functional.softplus(logits) - wanted * logits
    torch.testing.assert_close(objectness_loss(logits, wanted, "cross_entropy"), entropy)
    torch.testing.assert_close(
        objectness_loss(logits, wanted, "quality_focal"), entropy * (chance - wanted) ** 2
    )
    weight = torch.tensor([0.75 * 0.25, 0.75 * float(chance[1]) ** 2, 0.8, 0.75 * float(chance[3]) ** 2])
    torch.testing.assert_close(objectness_loss(logits, wanted, "varifocal"), entropy * weight)


def test_a_teacher_is_imitated_where_it_sees_faces():
    raw, prior = outputs(1)
    config = TrainConfig()
    assert teacher_loss(raw, raw, prior, config).item() == pytest.approx(0, abs=1e-6)
    seen = Outputs(raw.boxes.clone(), raw.objectness.clone(), raw.labels.clone())
    seen.objectness[0, 5], seen.labels[0, 5, 0] = 4.0, 4.0
    student = Outputs(*(tensor.clone().requires_grad_() for tensor in raw))
    losses = detection_loss(student, batch([], images=1), prior, config, seen)
    losses.total.backward()
    assert losses.teacher > 0.1
    assert student.objectness.grad[0, 5] < 0  # falling loss raises the score
    assert student.labels.grad[0, 5, 0] < 0
    assert student.boxes.grad[0, 5].abs().sum() == pytest.approx(0, abs=1e-6)  # the boxes agree already


def test_teachers_agree_by_how_sure_they_are():
    shape = outputs(1)[0]
    sure, unsure = (
        Outputs(
            torch.full_like(shape.boxes, box),
            torch.full_like(shape.objectness, objectness),
            torch.full_like(shape.labels, label),
        )
        for box, objectness, label in ((1.0, 4.0, 2.0), (0.0, -4.0, -2.0))
    )
    assert agreed([sure]) is sure
    both = agreed([sure, unsure])
    chance = torch.tensor(4.0).sigmoid()
    torch.testing.assert_close(both.objectness, torch.zeros_like(both.objectness), atol=1e-5, rtol=0)
    torch.testing.assert_close(both.boxes, torch.full_like(both.boxes, chance))
    label = chance * torch.tensor(2.0).sigmoid() + (1 - chance) * torch.tensor(-2.0).sigmoid()
    torch.testing.assert_close(both.labels.sigmoid(), torch.full_like(both.labels, label))


def test_what_a_teacher_sees_at_a_finer_stride_is_told_to_the_coarser_cell_around_it():
    torch.manual_seed(0)
    side_hw = 64, 96
    fine, coarse = priors(*side_hw, (4, 8, 16)), priors(*side_hw, (8, 16))
    levels = [torch.randn(2, 8, 64 // stride, 96 // stride) for stride in (4, 8, 16)]
    seen, told = outputs_of(levels), at_strides(levels, (8, 16))
    assert told.objectness.shape == (2, len(coarse))
    before, after = decode(seen.boxes, fine), decode(told.boxes, coarse)
    for cell, (x, y, stride) in enumerate(coarse.tolist()):
        inside = ((fine[:, 0] // stride * stride == x) & (fine[:, 1] // stride * stride == y)).nonzero()
        own = inside[fine[inside, 2] <= stride] if stride == 8 else inside[fine[inside, 2] == stride]
        assert len(own) == (5 if stride == 8 else 1)
        best = own[seen.objectness[1, own].argmax()]
        assert told.objectness[1, cell] == seen.objectness[1, best]
        torch.testing.assert_close(after[1, cell], before[1, best], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(told.labels[1, cell], seen.labels[1, best])
