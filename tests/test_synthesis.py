import numpy as np
import pytest

from maskwatch import OptionError
from maskwatch.synthesis import (
    EYEWEAR_KINDS,
    GEAR_KINDS,
    HEAD_REACH,
    HEADWEAR_KINDS,
    LABEL_OF_WEAR,
    LOWER_OF_WEAR,
    MASK_KINDS,
    OCCLUDER_KINDS,
    WEARS,
    Cloth,
    canonical_landmarks,
    darken_skin,
    draw_gear,
    draw_mask,
    draw_occluder,
)


def changed(before, after):
    """(y, x) of the pixels that differ clearly."""
    return np.argwhere(np.abs(before.astype(int) - after).max(axis=2) > 12)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_mask_covers_nose_and_mouth_but_not_the_eyes(astronaut, landmarks, kind):
    drawn = draw_mask(astronaut, landmarks, kind=kind, rng=np.random.default_rng(0))
    touched = {tuple(place) for place in changed(astronaut, drawn).tolist()}
    eyes, nose, mouth = landmarks[:2], landmarks[2], landmarks[3:].mean(axis=0)
    for x, y in eyes.astype(int):
        assert (y, x) not in touched
    for x, y in (nose + np.array([0, 4]), mouth):
        assert (int(y), int(x)) in touched


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("kind", [kind for kind in MASK_KINDS if kind != "bandana"])
def test_ways_of_wearing(astronaut, landmarks, kind, end):
    """As high and as low as it may sit, a mask covers what its way of wearing says."""
    nose, mouth = landmarks[2].astype(int), landmarks[3:].mean(axis=0).astype(int)
    covered = {}
    for wear in WEARS:
        lower, rng = LOWER_OF_WEAR[wear][end], np.random.default_rng(0)
        drawn = draw_mask(astronaut, landmarks, kind=kind, wear=wear, lower=lower, rng=rng)
        touched = {tuple(place) for place in changed(astronaut, drawn).tolist()}
        covered[wear] = [(int(y), int(x)) in touched for x, y in (nose, mouth)]
    assert covered == {"over_nose": [True, True], "under_nose": [False, True], "on_chin": [False, False]}
    assert [LABEL_OF_WEAR[wear] for wear in WEARS] == [0, 2, 2]


def test_a_mask_of_real_cloth(astronaut, landmarks):
    """Its colours are those of the middle of the mask in the photo, wherever on the face it is worn."""
    photo = np.full_like(astronaut, 255)
    left, top = landmarks.min(axis=0).astype(int)
    right, bottom = landmarks.max(axis=0).astype(int)
    photo[top:bottom, left:right] = (250, 0, 0)
    mouth = landmarks[3:].mean(axis=0).astype(int)
    for wear in ("over_nose", "under_nose"):
        drawn = draw_mask(astronaut, landmarks, wear=wear, cloth=Cloth(photo, landmarks))
        red, green, blue = drawn[mouth[1], mouth[0]].astype(int)
        assert red > 100 > 30 > max(green, blue)
    with pytest.raises(OptionError, match="no upright face"):
        draw_mask(astronaut, landmarks, cloth=Cloth(photo, np.zeros((5, 2), np.float32)))


@pytest.mark.parametrize("kind", OCCLUDER_KINDS)
def test_occluders_change_the_lower_face_only(astronaut, landmarks, kind):
    drawn = draw_occluder(astronaut, landmarks, kind=kind, rng=np.random.default_rng(0))
    places = changed(astronaut, drawn)
    assert len(places) > 300
    assert places[:, 0].min() > landmarks[:2, 1].max()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", GEAR_KINDS)
def test_gear_leaves_nose_and_mouth_to_be_seen(astronaut, landmarks, face_box, kind, seed):
    drawn = draw_gear(astronaut, landmarks, kinds=[kind], rng=np.random.default_rng(seed))
    places = changed(astronaut, drawn)
    assert len(places) > 300
    reach = HEAD_REACH * (face_box[0, 2:] - face_box[0, :2]).max()
    assert (places >= face_box[0, [1, 0]] - reach).all()
    assert (places <= face_box[0, [3, 2]] + reach).all()
    if kind not in ("shield", "guard"):  # the one is clear, the other has gaps
        left, right = landmarks[3:, 0].astype(int)
        mouth = np.s_[int(landmarks[2, 1]) + 8 : int(landmarks[3:, 1].max()), left:right]
        np.testing.assert_array_equal(drawn[mouth], astronaut[mouth])


def test_a_face_is_seen_behind_each_guard_but_not_as_well(astronaut, landmarks):
    (left, top), (right, bottom) = landmarks.min(axis=0).astype(int), landmarks.max(axis=0).astype(int)
    bare = astronaut[top:bottom, left:right].mean(axis=2).ravel()
    for seed in range(20):
        drawn = draw_gear(astronaut, landmarks, kinds=["guard"], rng=np.random.default_rng(seed))
        behind = drawn[top:bottom, left:right].mean(axis=2).ravel()
        assert np.corrcoef(bare, behind)[0, 1] > 0.2, seed
        assert (
            drawn[top - 10 : bottom + 30, left:right] != astronaut[top - 10 : bottom + 30, left:right]
        ).any()


@pytest.mark.parametrize(
    ("kinds", "above"), [(EYEWEAR_KINDS, False), ([kind for kind in HEADWEAR_KINDS if kind != "guard"], True)]
)
def test_headwear_sits_above_the_eyes_and_eyewear_on_them(astronaut, landmarks, kinds, above):
    eyes = landmarks[:2].mean(axis=0).astype(int)
    top = int(2 * landmarks[0, 1] - landmarks[3, 1])
    for kind in kinds:
        places = changed(
            astronaut, draw_gear(astronaut, landmarks, kinds=[kind], rng=np.random.default_rng(1))
        )
        on_eyes = (np.abs(places - eyes[::-1]).max(axis=1) < 12).any()
        assert on_eyes != above, kind
        assert (places[:, 0] < top).any() == (above or kind == "shield"), kind


def test_skin_gets_darker_and_a_mask_on_it_does_not(astronaut, landmarks):
    masked = draw_mask(astronaut, landmarks, kind="surgical", rng=np.random.default_rng(0))
    cheek = tuple(((landmarks[0] + landmarks[3]) / 2).astype(int)[::-1])
    mouth = tuple(landmarks[3:].mean(axis=0).astype(int)[::-1])
    forehead = tuple((landmarks[:2].mean(axis=0) - [0, 18]).astype(int)[::-1])
    light = astronaut.astype(float).mean(axis=2)
    half, whole = (darken_skin(astronaut, landmarks, depth=depth).mean(axis=2) for depth in (0.5, 1.0))
    for place in (cheek, forehead):
        assert 0.9 * light[place] > half[place] > 1.2 * whole[place]
    np.testing.assert_array_equal(darken_skin(astronaut, landmarks, depth=0), astronaut)
    dark = darken_skin(masked, landmarks)
    assert dark[forehead].mean() < 0.6 * masked[forehead].mean()
    assert np.abs(dark[mouth].astype(int) - masked[mouth]).max() < 12
    corner = np.s_[-60:, :60]
    np.testing.assert_array_equal(dark[corner], masked[corner])


def test_what_is_too_cold_for_skin_or_outside_the_picture_keeps_its_colour(astronaut, landmarks):
    blue = np.ascontiguousarray(astronaut[..., ::-1])
    np.testing.assert_array_equal(darken_skin(blue, landmarks), blue)
    np.testing.assert_array_equal(darken_skin(astronaut, landmarks + 5000), astronaut)


def test_the_input_is_left_alone_and_a_seed_repeats(astronaut, landmarks):
    before = astronaut.copy()
    one = draw_mask(astronaut, landmarks, kind="printed", rng=np.random.default_rng(5))
    two = draw_mask(astronaut, landmarks, kind="printed", rng=np.random.default_rng(5))
    np.testing.assert_array_equal(astronaut, before)
    np.testing.assert_array_equal(one, two)
    assert (one != draw_mask(astronaut, landmarks, kind="printed", rng=np.random.default_rng(6))).any()


@pytest.mark.parametrize("turn", [0, 45, 90, 180])
def test_faces_at_any_angle_and_at_the_border(astronaut, landmarks, turn):
    centre = landmarks.mean(axis=0)
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = ((landmarks - centre) @ rotation.T + centre).astype(np.float32)
    assert len(changed(astronaut, draw_mask(astronaut, turned))) > 1000
    assert draw_mask(astronaut, turned + 480).shape == astronaut.shape
    np.testing.assert_array_equal(draw_mask(astronaut, turned + 5000), astronaut)


def test_landmarks_from_a_box(face_box, landmarks):
    guessed = canonical_landmarks(face_box[0])
    assert np.abs(guessed - landmarks).max() < 0.12 * (face_box[0, 3] - face_box[0, 1])


def test_bad_arguments_are_named(astronaut, landmarks):
    with pytest.raises(OptionError, match="kind 'paper' is unknown; choose one of surgical"):
        draw_mask(astronaut, landmarks, kind="paper")
    with pytest.raises(OptionError, match="wear 'ear'"):
        draw_mask(astronaut, landmarks, wear="ear")
    with pytest.raises(OptionError, match="five points"):
        draw_mask(astronaut, landmarks[:4])
    with pytest.raises(OptionError, match="no upright face"):
        draw_mask(astronaut, np.zeros((5, 2), np.float32))
    with pytest.raises(OptionError, match="kind 'dog'"):
        draw_occluder(astronaut, landmarks, kind="dog")
    with pytest.raises(OptionError, match="depth is 2; it lies between 0"):
        darken_skin(astronaut, landmarks, depth=2)
    with pytest.raises(OptionError, match="kind 'crown' is unknown; choose one of glasses"):
        draw_gear(astronaut, landmarks, kinds=["cap", "crown"])
