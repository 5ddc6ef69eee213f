import dataclasses

import cv2
import numpy as np
import pytest

from maskwatch import boxes
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.synthesis import GEAR_KINDS, HEADWEAR_KINDS
from maskwatch.training.augment import odd_colours, photometric
from maskwatch.training.config import AugmentConfig, TrainConfig
from maskwatch.training.dressing import is_alone, random_gear
from maskwatch.training.pictures import Cloths, PictureCache
from maskwatch.training.prepare import TrainingImage
from maskwatch.training.samples import Batches, SampleMaker

PLAIN = AugmentConfig(
    strength=0, masked_crowd_share=0, drawn_mask_share=0, occluder_share=0, grid_shares=(1.0,)
)


def maker(images, **augment):
    config = TrainConfig(augment=dataclasses.replace(PLAIN, **augment))
    return SampleMaker(images, config, PictureCache(2**28))


@pytest.mark.parametrize("changes", [{}, {"quarter_turn_share": 1.0}, {"tilt_share": 1.0, "tilt_deg": 15.0}])
def test_boxes_follow_the_pixels(training_images, changes):
    """The face's box in a sample shows what the box showed in the picture."""
    make = maker(training_images[1:2], **changes)
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(30):
        sample = make.make(128, rng)
        for xyxy, ignore in zip(sample.xyxy, sample.ignore, strict=True):
            if ignore or boxes.size(xyxy[None])[0] < 24:
                continue
            x1, y1, x2, y2 = xyxy.astype(int)
            face = sample.image[y1:y2, x1:x2].astype(int)
            skin = (face[..., 0] > face[..., 2] + 25).mean()  # red well above blue
            assert skin > 0.45
            checked += 1
    assert checked > 10


def test_boxes_are_not_half_a_pixel_off(tmp_path):
    """A light square's box in a sample is where the square is, mirrored or not, at any size."""
    picture = np.full((300, 300, 3), 20, np.uint8)
    xyxy = np.array([[100, 110, 180, 190]], np.float32)
    picture[110:190, 100:180] = 240
    path = tmp_path / "square.png"
    cv2.imwrite(str(path), picture)
    faces = Detections(xyxy=xyxy, score=[1.0], label=[1])
    labelled = LabelledImage(path, (300, 300), faces, np.zeros(1, bool), "squares")
    unknown = np.full((1, 5, 2), np.nan, np.float32)
    make = maker(
        [TrainingImage(labelled, unknown)],
        native_share=0.0,
        zoomed_share=0,
        tilt_share=0,
        squeeze_deviation=0,
    )
    rng = np.random.default_rng(6)
    off = []
    for _ in range(60):
        sample = make.make(128, rng)
        light = (sample.image[..., 0].astype(float) - 20) / 220
        edges = np.concatenate([light[[0, -1]].ravel(), light[:, [0, -1]].ravel()])
        if np.abs(edges).max() < 0.01:  # the whole square is seen, and nothing beside the picture
            share = light / light.sum()
            middle = (share.sum(axis=0) @ (np.arange(128) + 0.5), share.sum(axis=1) @ (np.arange(128) + 0.5))
            off.append(middle - (sample.xyxy[0, :2] + sample.xyxy[0, 2:]) / 2)
    assert len(off) > 20
    assert np.abs(off).max() < 0.2


@pytest.mark.parametrize("turned", [0.0, 1.0])
def test_landmarks_stay_in_order_and_inside(training_images, turned):
    make = maker(training_images, quarter_turn_share=turned)
    rng = np.random.default_rng(1)
    for _ in range(20):
        sample = make.make(128, rng)
        for points, xyxy, ignore in zip(sample.landmarks, sample.xyxy, sample.ignore, strict=True):
            if not ignore:
                middle = points.mean(axis=0)
                cut = (xyxy[:2] <= 0).any() or (xyxy[2:] >= 128).any()
                spare = 20 if cut else 0  # boxes are cut off at the border
                assert ((middle > xyxy[:2] - spare) & (middle < xyxy[2:] + spare)).all()
                right_eye, left_eye, _, right_mouth, left_mouth = points
                across, down = left_eye - right_eye, (right_mouth + left_mouth - right_eye - left_eye) / 2
                assert across[0] * down[1] - across[1] * down[0] > 0  # no mirrored face


def test_face_sizes_cover_the_range(training_images):
    make = maker(training_images, grid_shares=(0.4, 0.2, 0.2, 0.2), native_share=0.2)
    rng = np.random.default_rng(2)
    samples = [make.make(256, rng) for _ in range(80)]
    sizes = np.concatenate([boxes.size(sample.xyxy[~sample.ignore]) for sample in samples])
    counts, _ = np.histogram(sizes, [8, 16, 32, 96, 256])
    assert (counts >= 8).all()
    assert sizes.min() >= 8


def test_surroundings_are_shown_at_the_scale_of_a_near_face(training_images):
    """What is beside a face fills the sample; a face that reaches into it is as large as it is near."""
    make = maker(training_images, surround_share=1.0, zoomed_share=0, tilt_share=0)
    rng = np.random.default_rng(4)
    samples = [make.make(128, rng) for _ in range(60)]
    whole = [boxes.size(sample.xyxy[~sample.ignore]) for sample in samples]
    without = sum(not len(sizes) for sizes in whole)  # no face, or so little of one that it is ignored
    assert without > 20
    assert min(sizes.min() for sizes in whole if len(sizes)) > 0.4 * 128


def test_drawn_masks_change_the_label(training_images):
    unmasked = [image for image in training_images if 1 in image.labelled.faces.label]
    make = maker(unmasked, masked_crowd_share=1, worn_wrong_share=0.5, native_share=0)
    rng = np.random.default_rng(3)
    labels = np.concatenate([make.make(192, rng).label for _ in range(60)])
    assert set(labels) == {0, 1, 2}
    make = maker(unmasked, occluder_share=1.0)
    assert {int(v) for _ in range(20) for v in make.make(192, rng).label} == {1}


def test_gear_keeps_faces_and_labels(training_images):
    still = {"zoomed_share": 0, "tilt_share": 0}
    plain, dressed = maker(training_images, **still), maker(training_images, gear_share=1.0, **still)
    for seed in range(8):
        bare = plain.make(192, np.random.default_rng(seed))
        worn = dressed.make(192, np.random.default_rng(seed))
        np.testing.assert_array_equal(worn.xyxy, bare.xyxy)
        np.testing.assert_array_equal(worn.label, bare.label)
        sizes = boxes.size(bare.xyxy[~bare.ignore])
        assert (worn.image != bare.image).any() == (sizes >= 10).any()


def test_darker_skin_keeps_faces_and_labels(training_images):
    still = {"zoomed_share": 0, "tilt_share": 0}
    plain, dark = maker(training_images, **still), maker(training_images, dark_skin_share=1.0, **still)
    darker = 0
    for seed in range(8):
        bare, other = (one.make(192, np.random.default_rng(seed)) for one in (plain, dark))
        np.testing.assert_array_equal(other.xyxy, bare.xyxy)
        np.testing.assert_array_equal(other.label, bare.label)
        assert (other.image.astype(int) - bare.image).max() <= 1
        darker += (bare.image.astype(int) - other.image).max() > 40
    assert darker >= 6


def test_guards_come_as_often_as_asked():
    drawn = [random_gear(np.random.default_rng(seed), alone=True, guard_share=0.6) for seed in range(200)]
    assert 110 < sum(kinds == ["guard"] for kinds in drawn) < 150
    assert {kind for kinds in drawn for kind in kinds} == set(GEAR_KINDS)
    beside = [random_gear(np.random.default_rng(seed), alone=False, guard_share=1.0) for seed in range(20)]
    assert ["guard"] not in beside


def test_headwear_is_for_those_who_stand_apart():
    drawn = [set(random_gear(np.random.default_rng(seed), alone=seed % 2 == 0)) for seed in range(60)]
    assert not set().union(*drawn[1::2]) & set(HEADWEAR_KINDS)
    assert set().union(*drawn[::2]) == set(GEAR_KINDS)
    xyxy = np.array([[0, 0, 20, 20], [30, 0, 50, 20], [200, 0, 220, 20]], np.float32)
    assert [is_alone(face, xyxy) for face in range(3)] == [False, False, True]


def test_batches_keep_the_number_of_pixels(training_images, tiny_config):
    make = SampleMaker(training_images, tiny_config, PictureCache(2**28))
    batches = iter(Batches(make, tiny_config, seed=5))
    shapes = set()
    for _ in range(12):
        batch = next(batches)
        shapes.add(tuple(batch.images.shape))
        assert len(batch.picture) == len(batch.xyxy) == len(batch.label) == len(batch.ignore)
        assert (batch.picture < len(batch.images)).all()
    assert shapes == {(2, 64, 64, 3), (1, 128, 128, 3)}


def test_a_seed_repeats(training_images, tiny_config):
    one, two = (
        next(iter(Batches(SampleMaker(training_images, tiny_config, PictureCache(0)), tiny_config, seed=7)))
        for _ in range(2)
    )
    assert (one.images == two.images).all()
    assert (one.xyxy == two.xyxy).all()


def test_the_cache_heeds_its_limit(training_images):
    path = training_images[0].labelled.path
    keeping, not_keeping = PictureCache(2**24), PictureCache(1000)
    assert keeping.read(path) is keeping.read(path)
    assert not_keeping.read(path) is not not_keeping.read(path)
    assert [level.shape[1] for level in keeping.read(path)] == [400, 200, 100, 50]


def test_cloth_is_that_of_masks_worn_well_and_large_enough(training_images):
    cloths = Cloths(training_images, PictureCache(2**28))
    widths = {
        size: {cloths.draw(size, np.random.default_rng(s)).image.shape[1] for s in range(20)}
        for size in (30.0, 60.0, 120.0)
    }
    assert widths == {30.0: {200}, 60.0: {400}, 120.0: {400}}  # the face has 101 px at 400
    assert cloths.draw(200.0, np.random.default_rng(0)) is None
    bare = [image for image in training_images if 0 not in image.labelled.faces.label]
    assert len(bare) == 5
    assert Cloths(bare, PictureCache(2**28)).draw(30.0, np.random.default_rng(0)) is None


def test_masks_of_real_cloth(training_images):
    """The same random numbers draw the same samples, but for what the masks are made of."""
    worn_well_or_bare = [image for image in training_images if 2 not in image.labelled.faces.label]
    cloth, fabric = (
        maker(worn_well_or_bare, masked_crowd_share=1, native_share=0, real_cloth_share=share)
        for share in (1.0, 0.0)
    )
    differing = 0
    for seed in range(30):
        one, other = (each.make(192, np.random.default_rng(seed)) for each in (cloth, fabric))
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        differing += bool((one.image != other.image).any())
    assert differing > 2


@pytest.mark.parametrize("seed", range(4))
def test_photometric_changes_keep_the_shape(astronaut, seed):
    image = np.ascontiguousarray(astronaut[:100, :90])
    changed = photometric(image, np.random.default_rng(seed), strength=5)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert (changed != image).any()
    np.testing.assert_array_equal(photometric(image, np.random.default_rng(seed), strength=0), image)


def test_odd_colours_keep_the_drawing(astronaut):
    """Colours change in several ways, and light and shade stay where they were."""
    image = np.ascontiguousarray(astronaut[:200, 100:300])
    changed = [odd_colours(image, np.random.default_rng(seed)) for seed in range(12)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in changed)
    assert len({one.tobytes() for one in changed}) > 6
    for one in changed:
        alike = np.corrcoef(one.mean(axis=2).ravel(), image.mean(axis=2).ravel())[0, 1]
        assert alike > 0.8


def test_shares_of_odd_colours_and_squeezes(training_images):
    """The same random numbers show the same faces, in other colours or of another shape."""

    def faces(**augment):
        make = maker(training_images[1:2], native_share=0.0, tilt_share=0.0, **augment)
        return [make.make(128, np.random.default_rng(seed)) for seed in range(20)]

    plain, odd = faces(), faces(odd_colour_share=1.0)
    assert all((one.xyxy == other.xyxy).all() for one, other in zip(plain, odd, strict=True))
    assert sum((one.image != other.image).any() for one, other in zip(plain, odd, strict=True)) > 15

    kept = faces(odd_colour_share=1.0, odd_colour_least_px=40.0)
    for one, other in zip(plain, kept, strict=True):
        small = boxes.size(one.xyxy[~one.ignore]).min(initial=np.inf) < 40
        assert not small or (one.image == other.image).all()
    assert any((one.image != other.image).any() for one, other in zip(plain, kept, strict=True))

    def shapes(samples):
        wh = np.concatenate([one.xyxy[~one.ignore][:, 2:] - one.xyxy[~one.ignore][:, :2] for one in samples])
        return np.log(wh[:, 0] / wh[:, 1]).std()

    assert shapes(faces(squeeze_deviation=0.3)) > 2 * shapes(faces(squeeze_deviation=0.0))
